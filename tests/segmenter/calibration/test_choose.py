"""The choice equals a search written slowly, is drawn to the default, and refuses who must not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage, special
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import DataError, SettingsError, UserError
from hilum.core.files import read_json, write_json
from hilum.core.settings import validate
from hilum.datasets.leakage import check_unseen, seen_in
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.calibration.calibrate import calibrate
from hilum.segmenter.calibration.choose import LOGITS, ChoiceSettings, choose, dice_of_case
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config
from hilum.segmenter.segmenter import Segmenter


def settings(**values: object) -> ChoiceSettings:
    return validate(ChoiceSettings, {"volumes_ml": (0, 0.05), **values})


def case(seed: int, level: float, least: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities whose nodes are as sure as `level`, with specks, and the label."""
    generator = np.random.default_rng(seed)
    label = np.zeros((10, 12, 14), np.uint8)
    label[3:7, 3:8, 4:9] = 1
    one = np.where(label, level, 0.01) * generator.uniform(least, 1, label.shape)
    one[9, 11, 13] = 0.9
    label[0, 0, 0] = 255
    one[0, 0, 0] = 0.99
    return np.stack([1 - one, one]).astype(np.float32), label


def slowly(p: np.ndarray, label: np.ndarray, threshold: float, volume: float, ml: float) -> float:
    mask = p[1] > np.float32(threshold)
    parts, count = ndimage.label(mask, np.ones((3, 3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    for number in range(1, count + 1):
        if (parts == number).sum() * ml < volume:
            mask = mask & (parts != number)
    known = label != 255
    mask, truth = mask & known, label == 1
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def test_the_table_is_that_of_masks_made_one_by_one() -> None:
    p, label = case(0, 0.4)
    found = dice_of_case(p, label, 0.01, settings())
    assert found.shape == (1, 22, 2, 1)
    for row, logit in enumerate(LOGITS):
        for v, volume in enumerate((0, 0.05)):
            want = slowly(p, label, float(special.expit(logit)), volume, 0.01)
            assert_allclose(found[0, row + 1, v, 0], want)
    assert_allclose(found[0, 0], found[0, 1 + 10])


def test_a_hot_speck_survives_a_floor() -> None:
    p, label = case(0, 0.4)
    pet = np.zeros(label.shape, np.float32)
    pet[9, 11, 13] = 6
    asked = settings(suv_floors=(4, 8))
    found = dice_of_case(p, label, 0.01, asked, pet)
    assert_allclose(found[0, :, 1, 1], found[0, :, 0, 0])
    assert found[0, 6, 1, 2] > found[0, 6, 0, 0]


PLAIN = settings(volumes_ml=(0,))


def tables(count: int, level: float, least: float) -> list[np.ndarray]:
    return [dice_of_case(*case(n, level, least), 0.01, PLAIN) for n in range(count)]


def test_more_patients_go_further_from_the_default() -> None:
    """The lower the threshold, the more of these nodes is found; the best is 0.02."""
    chosen = [
        choose(tables(n, 0.6, 0.04), [f"p{i}" for i in range(n)], PLAIN).point for n in (1, 2, 12)
    ]
    limits = [point.thresholds[0] for point in chosen]
    for n, limit in zip((1, 2, 12), limits, strict=True):
        # On the grid, a fifth, a third and three quarters of the way.
        assert_allclose(special.logit(limit), -4 * n / (n + 4), atol=0.21)
    assert chosen[2].record["gain"] > 0.3
    assert chosen[2].record["gain_low"] > 0
    assert "gain" not in chosen[0].record
    assert chosen[2].record["thresholds_low"][0] <= limits[2]


def test_cases_of_one_patient_count_as_one() -> None:
    found = choose(tables(6, 0.6, 0.04), ["a"] * 6, PLAIN).point
    assert found.record["patients"] == 1
    assert found.thresholds == choose(tables(1, 0.6, 0.04), ["a"], PLAIN).point.thresholds


def test_without_a_gain_on_others_the_default_stays() -> None:
    found = choose(tables(3, 0.99, 0.9), ["a", "b", "c"], PLAIN)
    assert found.point.is_default
    assert "no gain" in found.point.record["kept"]


def test_nonsense_is_refused() -> None:
    with pytest.raises(SettingsError, match="negative"):
        settings(volumes_ml=(-1,))
    with pytest.raises(SettingsError, match="positive"):
        settings(suv_floors=(0,))


@pytest.fixture
def run(config: Callable[..., SegmenterConfig], tmp_path: Path) -> Path:
    folder = tmp_path / "run" / "segmenter"
    Segmenter(config()).save(folder)
    split = {"train": ["case_0"], "validation": ["case_1", "case_2"], "test": ["case_4"]}
    write_json(folder.parent / "split.json", split)
    return folder


def test_validation_patients_choose_and_are_seen(run: Path, store: CaseStore) -> None:
    out = run.parent / "chosen"
    result = CliRunner().invoke(
        app, ["calibrate", str(run.parent), str(store.path), "--out", str(out)]
    )
    assert result.exit_code == 0, result.output
    about = json.loads((out / "operating_point.json").read_text())
    assert about["cases"] == ["case_1", "case_2"]
    config = read_segmenter_config(run)
    assert config.operating_point.record["patients"] == 2
    assert config.seen is not None
    assert len(config.seen.patients) == 2
    assert "<svg" in (out / "operating_point.html").read_text()


def test_who_chose_may_choose_again_and_who_trained_or_tested_may_not(
    run: Path, store: CaseStore
) -> None:
    """Of a folder that was moved away from its run, which knows no split."""
    about = read_json(run / "config.json")
    about |= {
        "seen": seen_in(store, ["case_0"]).model_dump(mode="json"),
        "tested": seen_in(store, ["case_5"]).model_dump(mode="json"),
    }
    write_json(run / "config.json", about)
    (run.parent / "split.json").unlink()
    said: list[str] = []
    for number in (1, 2):
        out = run.parent / f"out{number}"
        calibrate(run, store.path, out, cases=["case_1", "case_2"], say=said.append)
    assert f"table and page in {run.parent / 'out2'}" in said
    config = read_segmenter_config(run)
    assert config.seen is not None
    assert config.chose is not None
    assert len(config.seen.patients) == 3
    assert set(config.chose.patients) == set(seen_in(store, ["case_1", "case_2"]).patients)
    for name, why in (("case_0", "trained"), ("case_5", "tests"), ("case_4", "tests")):
        with pytest.raises(DataError, match=why):
            calibrate(run, store.path, run.parent / "out3", cases=[name])
    # Whoever chose still cannot test it.
    with pytest.raises(DataError, match="no test patient may have been learned from"):
        check_unseen(run, store, ["case_1"])


@pytest.mark.parametrize(
    ("name", "why"), [("case_4", "tests"), ("case_0", "trained"), ("nobody", "no case")]
)
def test_who_must_not_choose_is_refused(run: Path, store: CaseStore, name: str, why: str) -> None:
    before = (run / "config.json").read_text()
    with pytest.raises(UserError, match=why):
        calibrate(run, store.path, run.parent / "out", cases=[name])
    assert (run / "config.json").read_text() == before
    assert not (run.parent / "out").exists()


def test_without_validation_patients_it_says_so(run: Path, store: CaseStore) -> None:
    write_json(run.parent / "split.json", {"train": ["case_0"], "validation": [], "test": []})
    told: list[str] = []
    settings = validate(ChoiceSettings, {"expected": {"suv_max": 4}})
    calibrate(run, store.path, run.parent / "out", settings=settings, say=told.append)
    assert told == [
        "note: expected.suv_max does nothing: by is labels",
        "no validation patients: the operating point stays, most probable class",
    ]
