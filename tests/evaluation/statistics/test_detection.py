"""FROC and average precision with intervals over patients: left out one by one, slowly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from hilum.evaluation.metrics.average_precision import average_precision
from hilum.evaluation.metrics.froc import Candidate, froc
from hilum.evaluation.metrics.scores import CaseScores
from hilum.evaluation.statistics.detection import detection_intervals


def cohort(patients: int = 6, seed: int = 0) -> dict[str, CaseScores]:
    generator = np.random.default_rng(seed)
    cases = {}
    for number in range(patients):
        lesions = int(generator.integers(1, 5))
        found = [
            Candidate(float(generator.random()), f"p{number}/{lesion}")
            for lesion in range(lesions)
            if generator.random() < 0.7
        ]
        false = [Candidate(float(generator.random()) * 0.8, None) for _ in range(2)]
        cases[f"p{number}"] = CaseScores((*found, *false), lesions)
    return cases


def test_the_interval_is_the_jackknifes_on_the_scale_of_logits() -> None:
    cases = cohort()
    got = detection_intervals(cases)

    def measure(names: list[str]) -> tuple[float, float]:
        candidates = [c for name in names for c in cases[name].candidates]
        lesions = sum(cases[name].lesions for name in names)
        return froc(candidates, lesions, len(names)).at(1.0), average_precision(candidates, lesions)

    names = list(cases)
    for number, title in enumerate(("sensitivity_at_1", "average_precision")):
        whole = measure(names)[number]
        without = np.array([measure([n for n in names if n != one])[number] for one in names])
        error = math.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())
        reach = stats.t.ppf(0.975, 5) * error / (whole * (1 - whole))
        ends = special.expit(special.logit(whole) + np.array([-reach, reach]))
        assert got[title]["value"] == pytest.approx(whole)
        assert (got[title]["ci_low"], got[title]["ci_high"]) == pytest.approx(tuple(ends))
        assert got[title]["n"] == 6


def test_cases_of_a_patient_stay_together() -> None:
    cases = cohort(8)
    patients = {name: f"q{i // 2}" for i, name in enumerate(cases)}
    got = detection_intervals(cases, patients)
    assert got["average_precision"]["n"] == 4
    doubled = {f"{name}{copy}": one for copy in "xy" for name, one in cohort(4).items()}
    pairs = {name: name[:-1] for name in doubled}
    alone, together = detection_intervals(doubled), detection_intervals(doubled, pairs)
    widths = [m["average_precision"]["ci_high"] - m["average_precision"]["ci_low"]
              for m in (alone, together)]  # fmt: skip
    assert widths[1] > 1.2 * widths[0], "copies are no further patients"


def test_no_lesion_is_undefined_and_one_patient_has_no_interval() -> None:
    none = detection_intervals({"a": CaseScores((Candidate(0.5, None),), 0)})
    assert math.isnan(none["average_precision"]["value"])
    one = detection_intervals({"a": CaseScores((Candidate(0.5, "a/1"),), 2)})
    assert one["average_precision"]["value"] == pytest.approx(0.5)
    assert math.isnan(one["average_precision"]["ci_low"])
