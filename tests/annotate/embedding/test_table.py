"""Embeddings on disk are those in memory; likeness is a cosine over those that do not test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import PCA

from hilum.annotate.embedding.projection import principal
from hilum.annotate.embedding.table import COLUMNS, Embeddings
from hilum.core.errors import DataError, UserError
from hilum.evaluation.charts.groups import groups

ABOUT: dict[str, Any] = {
    **{"folder": "run", "weights": "ab", "store": "cd", "settings": {}},
    **{"modalities": ["ct", "pet"], "window": [8, 8, 8]},
}


def row(name: str, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    plain |= {"kind": "case", "id": name, "case": name, "patient": name, "split": "train"}
    plain |= {"labelled": True, "row": 0}
    return plain | more


def some(n: int = 6, c: int = 4) -> Embeddings:
    vectors = np.random.default_rng(0).normal(size=(n, c)).astype(np.float32)
    return Embeddings(vectors, [row(f"p{i}") for i in range(n)], dict(ABOUT))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    one = some()
    one.rows[2] |= {"kind": "node", "class": 1, "x_mm": 1.25, "labelled": False}
    back = Embeddings.read(one.save(tmp_path))
    np.testing.assert_array_equal(back.vectors, one.vectors)
    assert back.rows == [r | {"row": i} for i, r in enumerate(one.rows)]
    assert back.about == one.about


def test_damage_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="hilum embed"):
        Embeddings.read(tmp_path)
    some().save(tmp_path)
    np.save(tmp_path / "embeddings.npy", np.zeros((5, 4), np.float32))
    with pytest.raises(DataError, match=r"as many rows.*5 and 6"):
        Embeddings.read(tmp_path)
    (tmp_path / "embeddings.npy").write_bytes(b"no")
    with pytest.raises(DataError, match="as they were written"):
        Embeddings.read(tmp_path)


def test_whoever_tests_sets_no_scale() -> None:
    one = some()
    one.rows[0]["split"] = "test"
    before = one.standardised()
    np.testing.assert_allclose(before[1:].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(before[1:].std(0), 1, atol=1e-5)
    one.vectors[0] = 1000
    np.testing.assert_array_equal(one.standardised()[1:], before[1:])


def test_a_number_that_does_not_vary_counts_nothing() -> None:
    one = some()
    one.vectors[:, 1] = 5
    assert not one.standardised()[:, 1].any()


def test_neighbours_are_other_patients_by_cosine() -> None:
    one = some()
    one.rows[1]["patient"] = "p0"
    found = one.neighbours("p0", 3)
    unit = one.standardised()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    want = {f"p{i}": float(unit[0] @ unit[i]) for i in (2, 3, 4, 5)}
    assert [n.case for n in found] == sorted(want, key=lambda name: -want[name])[:3]
    assert found[0].likeness == pytest.approx(max(want.values()), abs=1e-6)
    with pytest.raises(DataError, match="did you mean 'p5'"):
        one.neighbours("p55")


def test_a_patient_is_the_mean_of_the_cases() -> None:
    one = some()
    one.rows[3]["patient"] = "p0"
    found = one.patients()
    assert [r["patient"] for r in found.rows] == ["p0", "p1", "p2", "p4", "p5"]
    np.testing.assert_allclose(found.vectors[0], one.vectors[[0, 3]].mean(0))


def test_the_map_is_that_of_principal_components() -> None:
    vectors = np.random.default_rng(1).normal(size=(20, 5)) * [5, 3, 1, 1, 1]
    fit = np.arange(20) < 15
    found, share = principal(vectors, fit)
    want = PCA(2).fit(vectors[fit])
    np.testing.assert_allclose(np.abs(found), np.abs(want.transform(vectors)), atol=1e-8)
    np.testing.assert_allclose(share, want.explained_variance_ratio_)
    assert (found.max(0) == np.abs(found).max(0)).all()
    still, none = principal(np.ones((3, 2)), np.ones(3, bool))
    assert not still.any()
    assert not none.any()


def test_a_map_draws_each_point_once_and_escapes_names() -> None:
    drawn = groups({"a<b": [(0, 0, "<one>"), (1, 2, "two")], "c": [(2, 1, "three")]}, "t")
    assert drawn.count("<title>&lt;one&gt;</title>") == 1
    assert drawn.count('r="4.5"') == 3
    assert "a&lt;b" in drawn
    assert groups({}, "t") == ""


def test_what_is_said_of_embeddings_has_types(tmp_path: Path) -> None:
    some().save(tmp_path)
    assert Embeddings.read(tmp_path).about == ABOUT
    file = tmp_path / "embeddings.json"
    for key, wrong in {"weights": 3, "modalities": "ct", "window": [8, 8], "settings": []}.items():
        file.write_text(json.dumps(ABOUT | {key: wrong}))
        with pytest.raises(UserError, match=f"embeddings.json: .* found {key}") as caught:
            Embeddings.read(tmp_path)
        assert "make them again with `hilum embed`" in str(caught.value)
    file.unlink()
    with pytest.raises(UserError, match="no such file"):
        Embeddings.read(tmp_path)
