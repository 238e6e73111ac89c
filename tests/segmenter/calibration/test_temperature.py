"""The temperature is that of an optimiser that knows nothing of grids, drawn towards 1."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import special
from scipy.optimize import minimize_scalar
from torch.nn import functional as F

from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.calibration import temperature
from hilum.segmenter.calibration.calibrate import calibrate
from hilum.segmenter.calibration.choose import ChoiceSettings, choose, dice_of_case
from hilum.segmenter.calibration.temperature import LOG_T, choose_temperature, nll_of_case
from hilum.segmenter.config import read_segmenter_config
from hilum.segmenter.operating.apply import decide, tempered
from hilum.segmenter.operating.point import ARGMAX, asked_point
from hilum.segmenter.operating.regions import Regions

from .test_choose import run as run  # a fixture

SIDES = (8, 9, 10)
REGIONS = Regions.of({"whole": (1, 2), "core": (2,)})


def made(seed: int, factor: float, classes: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits that are too large by a factor, their softmax, and labels of the right ones."""
    generator = np.random.default_rng(seed)
    right = generator.normal(0, 1.5, (classes, *SIDES))
    right[0] += 1
    p = special.softmax(right, 0)
    label = (generator.random(SIDES) > np.cumsum(p, 0)[:-1]).sum(0).astype(np.uint8)
    label[0, 0] = 255
    logits = right * factor
    return logits, special.softmax(logits, 0).astype(np.float32), label


def by_torch(cases: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Return the temperature of the least mean cross-entropy, one number per case."""

    def loss(log_t: float) -> float:
        each = [
            F.cross_entropy(
                torch.from_numpy(logits)[None] / np.exp(log_t),
                torch.from_numpy(label.astype(np.int64))[None],
                ignore_index=255,
            )
            for logits, _, label in cases
        ]
        return float(torch.stack(each).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-1.4, 1.4), method="bounded").x))  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("factor", "classes"), [(2.0, 2), (0.5, 2), (1.6, 4)])
def test_it_is_that_of_an_optimiser_and_near_the_known_one(factor: float, classes: int) -> None:
    cases = [made(seed, factor, classes) for seed in range(6)]
    tables = [nll_of_case(p, label) for _, p, label in cases]
    found, record = choose_temperature(tables, list("abcdef"), 0)
    assert found == pytest.approx(by_torch(cases), rel=0.01)
    assert found == pytest.approx(factor, rel=0.15)
    assert record["nll_gain_low"] > 0
    assert record["temperature_low"] < found < record["temperature_high"]
    # The gain of each patient left out, by the optimiser of the others.
    gains = []
    for i, (logits, _, label) in enumerate(cases):
        other = by_torch([c for j, c in enumerate(cases) if j != i])
        one, two = (
            F.cross_entropy(
                torch.from_numpy(logits)[None] / t,
                torch.from_numpy(label.astype(np.int64))[None],
                ignore_index=255,
            )
            for t in (1.0, other)
        )
        gains.append(float(one - two))
    assert record["nll_gain"] == pytest.approx(np.mean(gains), rel=0.01)


def test_the_likelihood_of_regions_is_binary_and_summed() -> None:
    _, p, label = made(0, 1.0, 3)
    each = np.stack([1 - np.maximum(p[1], p[2]), p[1], p[2]])
    truth = np.stack([np.isin(label, (1, 2)), label == 2]).astype(float)
    known = label != 255
    for row in (0, 10, 17):
        logits = torch.from_numpy(special.logit(each[1:].astype(float))) / np.exp(LOG_T[row])
        loss = F.binary_cross_entropy_with_logits(
            logits, torch.from_numpy(truth), reduction="none"
        ).numpy()[:, known]
        assert nll_of_case(each, label, REGIONS)[row] == pytest.approx(loss.mean(1).sum(), rel=1e-4)


def test_slabs_of_a_case_are_one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    _, p, label = made(0, 2.0, 3)
    label[:2] = 255
    whole = nll_of_case(p, label)
    monkeypatch.setattr(temperature, "CHUNK", 200)  # two of eight slices; of the first nothing
    assert_allclose(nll_of_case(p, label), whole, rtol=1e-6)


def test_few_patients_stay_near_1_and_cases_of_one_count_once() -> None:
    table = nll_of_case(*made(1, 2.5)[1:])
    whole = choose_temperature([table], ["a"], 0)[0]
    for n in (1, 4, 12):
        found, record = choose_temperature([table] * n, [f"p{i}" for i in range(n)], 4)
        assert np.log(found) == pytest.approx(np.log(whole) * n / (n + 4), abs=0.01)
        assert ("nll_gain" in record) == (n > 1)
    assert choose_temperature([table] * 5, ["a"] * 5, 4)[0] == pytest.approx(whole**0.2, abs=0.01)


def test_without_a_gain_on_others_it_stays_1() -> None:
    """Two patients of whom one is too sure and the other too little: each misleads the other."""
    tables = [nll_of_case(*made(0, 3.0)[1:]), nll_of_case(*made(1, 1 / 3)[1:])]
    found, record = choose_temperature(tables, ["a", "b"], 0)
    assert found == 1
    assert record["nll_gain"] < 0
    assert "no gain" in record["temperature_kept"]
    unknown = np.full(len(LOG_T), np.nan)
    assert choose_temperature([unknown], ["a"], 4)[0] == 1


@pytest.mark.parametrize("overlapping", [False, True])
def test_masks_are_those_without_it(overlapping: bool) -> None:
    """Thresholds move along, so that Dice and its gain are those that were measured."""
    asked = validate(ChoiceSettings, {"volumes_ml": (0,), "prior_patients": 0})
    cases = [made(seed, 2.0, 3 if overlapping else 2) for seed in range(4)]
    regions = REGIONS if overlapping else None
    dice = [dice_of_case(p, label, 1.0, asked, None, regions) for _, p, label in cases]
    nll = [nll_of_case(p, label, regions) for _, p, label in cases]
    names = list("abcd")
    cold = choose(dice, names, asked).point
    warm = choose(dice, names, asked, nll, overlapping).point
    assert cold.temperature == 1
    assert warm.temperature > 1.3
    assert warm.thresholds != cold.thresholds
    for _, p, _ in cases:
        hot = tempered(p, warm.temperature, overlapping)
        assert_array_equal(
            decide(hot[1:], warm, hot[0], regions), decide(p[1:], cold, p[0], regions)
        )
    assert warm.record["dice_here"] == cold.record["dice_here"]
    ends = special.logit(warm.record["thresholds_low"]) * warm.temperature
    assert_allclose(special.expit(ends), cold.record["thresholds_low"], rtol=1e-6)
    assert choose(dice, names, asked.model_copy(update={"temperature": False}), nll).point == cold


def test_thresholds_of_several_classes_keep_1() -> None:
    asked = validate(ChoiceSettings, {"volumes_ml": (0,), "prior_patients": 0})
    cases = [made(seed, 2.0, 3) for seed in range(4)]
    dice = [dice_of_case(p, label, 1.0, asked) for _, p, label in cases]
    found = choose(dice, list("abcd"), asked, [nll_of_case(p, lab) for _, p, lab in cases]).point
    assert found.thresholds
    assert found.temperature == 1
    assert "several classes" in found.record["temperature_kept"]


def test_the_command_chooses_it_and_raw_ignores_it(run: Path, store: CaseStore) -> None:
    told: list[str] = []
    asked = validate(ChoiceSettings, {"prior_patients": 0})
    point = calibrate(run, store.path, run.parent / "out", settings=asked, say=told.append)
    assert read_segmenter_config(run).operating_point == point
    assert point.record["temperature"] == point.temperature
    assert any("negative log-likelihood" in line for line in told)
    page = (run.parent / "out" / "operating_point.html").read_text()
    assert "negative log-likelihood" in page
    kept = point.model_copy(update={"temperature": 3.0})
    assert asked_point(kept, 2, None, raw=True) == ARGMAX
    assert asked_point(kept, 2, 0.3, raw=False).temperature == 3.0
