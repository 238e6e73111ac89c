"""A point without labels: components counted slowly, thresholds known beforehand, no test case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage, special
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import DataError, SettingsError, StoreError
from hilum.core.files import read_json, write_json
from hilum.core.settings import validate
from hilum.datasets.leakage import check_unseen, seen_in
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.datasets.store.recipe import preparation_of
from hilum.segmenter.calibration.calibrate import calibrate
from hilum.segmenter.calibration.choose import ChoiceSettings
from hilum.segmenter.calibration.expected import (
    LOGITS,
    ExpectedSettings,
    choose_expected,
    statistics_of_case,
)
from hilum.segmenter.calibration.label_free import expected_for, expected_lines
from hilum.segmenter.ensemble import load_predictor
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.operating.apply import mask_of
from hilum.segmenter.segmenter import Segmenter

from ..test_proposals import NODES, write_run

ML = 0.064


def expected(**values: object) -> ExpectedSettings:
    return validate(ExpectedSettings, values)


def random_case(classes: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    logits = ndimage.gaussian_filter(generator.normal(0, 9, (classes, 10, 12, 14)), (0, 1, 1, 1))
    found = np.exp(logits) / np.exp(logits).sum(0)
    return found.astype(np.float32)


def slowly(p: np.ndarray, threshold: float, low: float, high: float, most: int | None) -> list[int]:
    """Return the sizes in voxels of what is kept, class by class, by SciPy's numbering."""
    kept = []
    best = p[1:].argmax(0)
    for value in range(len(p) - 1):
        mask = (best == value) & (p[1 + value] > np.float32(threshold))
        parts, count = ndimage.label(mask, np.ones((3, 3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
        sizes = sorted(((parts == n).sum() for n in range(1, count + 1)), reverse=True)
        kept += [size for size in sizes if low <= size <= high][:most]
    return kept


@pytest.mark.parametrize(("classes", "most"), [(2, None), (3, None), (3, 2)])
def test_statistics_are_those_of_components_counted_one_by_one(
    classes: int, most: int | None
) -> None:
    p = random_case(classes)
    asked = expected(volume_ml=(3 * ML, 90 * ML), at_most=most)
    found = statistics_of_case(p, ML, asked)
    for row, logit in enumerate(LOGITS):
        sizes = slowly(p, float(special.expit(logit)), 3, 90, most)
        assert_allclose(found[row], (len(sizes), sum(sizes) * ML))
    every = statistics_of_case(p, ML, expected(volume_ml=(0, 1e6)))
    assert (found[:, 1] < every[:, 1]).any()
    assert len(set(found[:, 0])) > 3


def test_regions_count_as_their_union() -> None:
    """A nested region is no second node; 0.9 + 0.9 sum to more than 1."""
    whole, core = np.zeros((2, 8, 8, 8), np.float32)
    whole[1:6, 1:6, 1:6], core[2:4, 2:4, 2:4] = 0.9, 0.95
    p = np.stack([1 - np.maximum(whole, core), whole, core])
    found = statistics_of_case(p, ML, expected(), True)
    assert_allclose(found[len(LOGITS) // 2], (1, 125 * ML))
    assert statistics_of_case(p, ML, expected())[len(LOGITS) // 2, 0] == 2


def test_a_component_counts_if_it_is_hot_enough_however_small() -> None:
    p = random_case(2)
    suv = np.random.default_rng(1).gamma(2, 1, p.shape[1:]).astype(np.float32)
    asked = expected(volume_ml=(3 * ML, 90 * ML), suv_max=4)
    found = statistics_of_case(p, ML, asked, suv=suv)
    for row, logit in enumerate(LOGITS):
        parts, count = ndimage.label(p[1] > np.float32(special.expit(logit)), np.ones((3, 3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
        own = [parts == n for n in range(1, count + 1)]
        sizes = [one.sum() for one in own if suv[one].max() >= 4 and one.sum() <= 90]
        assert_allclose(found[row], (len(sizes), sum(sizes) * ML))
    every = statistics_of_case(p, ML, asked)
    assert (every[:, 0] > found[:, 0]).any()
    assert (found[:, 0] > 0).any()


def scene(seed: int) -> np.ndarray:
    """Return three nodes of 0.99, a pale one of 0.6, a speck, and a kidney as sure as the nodes."""
    p = np.full((30, 30, 30), 0.01, np.float32)
    for z, y, level in ((2, 2, 0.99), (2, 12, 0.99), (2, 22, 0.99), (10, 2, 0.6)):
        p[z : z + 4, y : y + 4, 2:6] = level
    p[10, 20, 2] = 0.999
    p[16:28, 4:28, 10:28] = 0.99
    p += np.random.default_rng(seed).uniform(0, 0.0005, p.shape).astype(np.float32)
    return np.stack([1 - p, p])


SIZES = (10 * ML, 1000 * ML)


@pytest.mark.parametrize(("number", "low", "high"), [(3, 0.6, 0.99), (4, 0.01, 0.6)])
def test_the_threshold_is_where_the_expected_nodes_are(
    number: int, low: float, high: float
) -> None:
    """Nodes of 64 voxels; a speck of one and a kidney of 5,184 are dropped at every threshold."""
    asked = expected(volume_ml=SIZES, number=number, total_ml=number * 64 * ML)
    rows = [statistics_of_case(scene(n), ML, asked) for n in range(3)]
    found = choose_expected(rows, ["a", "b", "c"], 2, asked, 0)
    limit = found.point.thresholds[0] if found.point.thresholds else 0.5
    assert low < limit < high
    record = found.point.record
    assert_allclose((record["number"], record["total_ml"]), (number, number * 64 * ML))
    assert found.point.max_volume_ml == SIZES[1]
    assert found.point.min_volume_ml == SIZES[0]
    assert record["by"] == "expected statistics"
    assert record["threshold_low"] <= limit <= record["threshold_high"]


def test_each_statistic_alone_decides_and_both_do() -> None:
    """Two tables of numbers and volumes whose best rows differ."""
    table = np.ones((len(LOGITS), 2))
    table[:, 0], table[:, 1] = np.linspace(20, 1, 31), np.linspace(5, 65, 31)
    by_number = choose_expected([table], ["a"], 2, expected(number=2, total_ml=None), 0)
    by_volume = choose_expected([table], ["a"], 2, expected(number=None, total_ml=9), 0)
    both = choose_expected([table], ["a"], 2, expected(number=2, total_ml=9), 0)

    def row(limit: float) -> int:
        return int(np.abs(LOGITS - special.logit(limit)).argmin())

    assert row(by_number.point.thresholds[0]) == np.abs(np.log(table[:, 0] / 2)).argmin()
    assert row(by_volume.point.thresholds[0]) == np.abs(np.log(table[:, 1] / 9)).argmin()
    away = np.abs(np.log(table[:, 0] / 2)) + np.abs(np.log(table[:, 1] / 9))
    assert row(both.point.thresholds[0]) == away.argmin()
    assert len({row(c.point.thresholds[0]) for c in (by_number, by_volume)}) == 2


def test_few_patients_stay_near_a_half_and_cases_of_one_count_once() -> None:
    table = np.ones((len(LOGITS), 2))
    table[:, 0] = np.linspace(10, 0.1, len(LOGITS))
    asked = expected(number=10, total_ml=None)
    for n in (1, 4, 36):
        found = choose_expected([table] * n, [f"p{i}" for i in range(n)], 3, asked, 4)
        low, high = found.point.thresholds
        assert low == high
        assert_allclose(special.logit(low), -6 * n / (n + 4), atol=0.21)
    one = choose_expected([table] * 9, ["p"] * 9, 2, asked, 4)
    assert one.point.record["patients"] == 1
    assert_allclose(special.logit(one.point.thresholds[0]), -6 / 5, atol=0.21)


def test_where_nothing_is_found_a_half_stays_and_is_said() -> None:
    empty = np.zeros((len(LOGITS), 2))
    found = choose_expected([empty], ["a"], 2, expected(number=4), 4)
    assert found.point.thresholds == ()
    assert "nothing of that size" in found.point.record["kept"]
    assert found.point.min_volume_ml == 0.05


def test_where_no_number_is_expected_the_threshold_stays_and_filters_do_not() -> None:
    table = np.stack([np.linspace(20, 1, 31), np.linspace(5, 65, 31)], 1)
    found = choose_expected([table] * 50, [f"p{i}" for i in range(50)], 2, expected(suv_max=4), 0)
    assert found.point.thresholds == ()
    assert (found.point.suv_floor, found.point.max_volume_ml) == (4, 150)
    assert "no number" in found.point.record["kept"]
    assert_allclose(found.point.record["number"], table[15, 0])
    told = "\n".join(expected_lines(found))
    assert "a threshold of 0.5" in told
    assert "10.5 nodes a patient" in told


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"volume_ml": (3, 1)}, "smallest and the largest"),
        ({"number": 0}, "number"),
    ],
)
def test_nonsense_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        expected(**values)


@pytest.fixture
def network(tmp_path: Path, store: CaseStore) -> Path:
    run = write_run(tmp_path / "run", NODES, preparation=preparation_of(store))
    about = read_json(run / "network" / "config.json")
    about["encoder"]["seen"] = seen_in(store, ["case_0", "case_1"]).model_dump(mode="json")
    write_json(run / "network" / "config.json", about)
    return run


def test_the_command_sets_the_point_of_a_pretrained_network_and_reads_no_label(
    network: Path, store: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_label(self: StoredCase) -> None:
        raise AssertionError("a label was read")

    monkeypatch.setattr(StoredCase, "label", property(no_label))
    out = network / "chosen"
    asked = ["by=expected", "expected.volume_ml=[0.1,40]", "expected.number=2", "prior_patients=0"]
    arguments = ["calibrate", str(network), str(store.path), "--out", str(out), *asked]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "no label" in result.output
    written = read_json(out / "operating_point.json")
    assert written["cases"] == ["case_0", "case_1"]
    assert "<svg" in (out / "operating_point.html").read_text()
    model = load_predictor(network)
    point = model.config.operating_point
    assert point.max_volume_ml == 40
    assert point.min_volume_ml == 0.1
    # What it says of the cases that chose, from their probabilities.
    limit = point.thresholds[0] if point.thresholds else 0.5
    voxel = store["case_0"].grid.voxel_ml
    numbers = [
        len(slowly(predict_case(model, store[n]), limit, 0.1 / voxel, 40 / voxel, None))
        for n in ("case_0", "case_1")
    ]
    assert_allclose(point.record["number"], np.mean(numbers))
    assert model.config.seen is not None
    assert len(model.config.seen.patients) == 2


@pytest.mark.parametrize(("floor", "any_left"), [(5, True), (100, False)])
def test_masks_have_as_many_hot_components_as_the_choice_says(
    network: Path, store: CaseStore, floor: float, any_left: bool
) -> None:
    """Nodes of SUV 8: the least uptake of the choice is that of the masks."""
    asked = {"by": "expected", "expected": {"volume_ml": (0.5, 900), "suv_max": floor}}
    settings = validate(ChoiceSettings, asked)
    said: list[str] = []
    settings = settings.model_copy(update={"temperature": False})
    point = calibrate(network, store.path, network / "out", settings=settings, say=said.append)
    assert said[0] == "note: temperature does nothing: by is expected"
    assert f"table and page in {network / 'out'}" in said
    assert f"SUVmax below {floor}" in point.words()
    model, counts = load_predictor(network), []
    for name in ("case_0", "case_1"):
        found = predict_case(model, store[name])
        assert (found[1] > 0.5).any()
        mask = mask_of(found, store[name], point)
        counts.append(ndimage.label(mask, np.ones((3, 3, 3)))[1])  # pyright: ignore[reportGeneralTypeIssues]
    assert any(counts) is any_left
    assert_allclose(point.record.get("number", 0), np.mean(counts))


def test_a_least_uptake_of_a_segmenter_that_sees_none_is_refused(
    network: Path, store: CaseStore
) -> None:
    config = load_predictor(network).config
    blind = Segmenter(config.model_copy(update={"modalities": ("ct",)}))
    asked = validate(ChoiceSettings, {"by": "expected", "expected": {"suv_max": 4}})
    with pytest.raises(SettingsError, match="sees uptake, found ct"):
        expected_for(blind, store, ["case_0"], asked)


def test_who_chose_cannot_test_and_who_tests_cannot_choose(network: Path, store: CaseStore) -> None:
    asked = validate(ChoiceSettings, {"by": "expected"})
    folder, before = network / "network", (network / "network" / "config.json").read_text()
    with pytest.raises(DataError, match="that tests may choose"):
        calibrate(network, store.path, network / "out", cases=["case_4"], settings=asked)
    with pytest.raises(StoreError, match="no case nobody"):
        calibrate(network, store.path, network / "out", cases=["nobody"], settings=asked)
    with pytest.raises(DataError, match="set by=expected"):
        calibrate(network, store.path, network / "out", cases=["case_2"])
    assert (folder / "config.json").read_text() == before
    calibrate(network, store.path, network / "out", cases=["case_2"], settings=asked)
    with pytest.raises(DataError, match="no test patient may have been learned from"):
        check_unseen(folder, store, ["case_2"])


def test_the_pool_of_a_run_chooses_without_its_labelled_patients(
    network: Path, store: CaseStore, tmp_path: Path
) -> None:
    folder = load_predictor(network).save(tmp_path / "tuned" / "segmenter")  # pyright: ignore[reportCallIssue]
    split = {
        "pool": ["case_0", "case_1", "case_2", "case_3"],
        "train": ["case_0"],
        "validation": ["case_1"],
        "test": ["case_4", "case_5"],
        "left_out": [],
    }
    write_json(folder.parent / "split.json", split)
    asked = validate(ChoiceSettings, {"by": "expected"})
    calibrate(folder.parent, store.path, tmp_path / "out", settings=asked)
    assert read_json(tmp_path / "out" / "operating_point.json")["cases"] == ["case_2", "case_3"]
    with pytest.raises(DataError, match="trained or validated may choose"):
        calibrate(folder.parent, store.path, tmp_path / "o", cases=["case_1"], settings=asked)


def test_only_so_many_patients_are_predicted(network: Path, store: CaseStore) -> None:
    asked = validate(ChoiceSettings, {"by": "expected", "expected": {"patients": 1}})
    point = calibrate(network, store.path, network / "out", settings=asked)
    assert point.record["patients"] == 1
    assert len(read_json(network / "out" / "operating_point.json")["cases"]) == 1
