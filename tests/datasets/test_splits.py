"""Splits divide patients, never cases, and grow by nesting."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.settings import load
from hilum.datasets.splits import Split, SplitSettings, check_leakage, make_split
from hilum.datasets.store import VERSION, CaseStore


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Return 12 patients with two scans each: 0 and 1 test, 10 and 11 have no label."""
    return write_index(tmp_path, [row(p, s) for p in range(12) for s in "ab"])


def row(patient: int, scan: str) -> dict[str, object]:
    split = "test" if patient < 2 else "train"
    return {
        "id": f"{patient}{scan}",
        "patient": f"p{patient}",
        "split": split,
        "labelled": patient < 10 and scan == "a",
    }


def write_index(folder: Path, rows: list[dict[str, object]]) -> CaseStore:
    about = {"version": VERSION, "modalities": ["ct"], "spacing": [1, 1, 1], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": "f", "cases": rows})
    return CaseStore(folder)


def patients(store: CaseStore, cases: tuple[str, ...]) -> set[str]:
    return {store.rows[case]["patient"] for case in cases}


@pytest.mark.parametrize("test", ["manifest", 0.25])
def test_parts_share_no_patient_and_labels_are_read_only_where_there_are_some(
    store: CaseStore, test: float
) -> None:
    split = make_split(store, SplitSettings(test=test, validation=2, labels=3))
    train, validation, held_out = (
        patients(store, part) for part in (split.train, split.validation, split.test)
    )
    assert not train & validation
    assert not (train | validation | patients(store, split.pool)) & held_out
    assert (len(train), len(validation)) == (3, 2)
    assert all(store.rows[case]["labelled"] for case in split.train + split.validation + split.test)


def test_the_manifest_names_the_test_patients_and_the_pool_is_everyone_else(
    store: CaseStore,
) -> None:
    split = make_split(store, SplitSettings(validation=2))
    assert split.test == ("0a", "1a")
    assert patients(store, split.pool) == {f"p{n}" for n in range(2, 12)}
    assert len(split.pool) == 20
    assert patients(store, split.train) | patients(store, split.validation) == {
        f"p{n}" for n in range(2, 10)
    }


def test_more_labels_add_patients_and_keep_the_others(store: CaseStore) -> None:
    nested = [set(make_split(store, SplitSettings(labels=n)).train) for n in range(1, 9)]
    assert all(small < large for small, large in pairwise(nested))


def test_draws_differ_but_validation_and_test_stay(store: CaseStore) -> None:
    splits = [make_split(store, SplitSettings(validation=2, labels=2, draw=n)) for n in range(6)]
    assert len({split.train for split in splits}) > 2
    assert len({(split.validation, split.test, split.pool) for split in splits}) == 1


def test_the_same_settings_give_the_same_split_and_another_seed_another(store: CaseStore) -> None:
    settings = SplitSettings(test=0.25, labels=3)
    assert make_split(store, settings) == make_split(store, settings)
    seeds = {make_split(store, SplitSettings(test=0.25, labels=3, seed=n)) for n in range(4)}
    assert len(seeds) == 4


def test_a_split_survives_json(store: CaseStore) -> None:
    split = make_split(store, SplitSettings(validation=1, labels=2))
    assert Split.from_json(split.as_json()) == split


def test_too_few_labelled_patients_is_an_error_that_counts_them(store: CaseStore) -> None:
    with pytest.raises(DataError, match=r"9 training.*8 labelled"):
        make_split(store, SplitSettings(labels=9))
    with pytest.raises(DataError, match="validation"):
        make_split(store, SplitSettings(validation=9))


def test_a_patient_on_both_sides_is_leakage(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test and pool.*p3"):
        check_leakage(store, Split(("3a",), (), (), ("3b",)))
    mixed = write_index(tmp_path / "mixed", [row(0, "a"), row(0, "b") | {"split": "train"}])
    with pytest.raises(DataError, match="train and test"):
        make_split(mixed, SplitSettings())


@pytest.mark.parametrize(
    "bad", [{"labels": 0}, {"validation": -1}, {"test": "some"}, {"lables": 3}]
)
def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        load(SplitSettings, **bad)
