"""The FROC curve of a small cohort, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.metrics.froc import Candidate, froc

COHORT = [
    Candidate(0.5, None),
    Candidate(0.9, "a"),
    Candidate(0.8, None),
    Candidate(0.7, "b"),
    Candidate(0.7, "a"),
    Candidate(0.2, None),
]


def test_the_curve_by_hand() -> None:
    """Four lesions in two patients; the second candidate on `a` is no false positive."""
    got = froc(COHORT, lesions=4, patients=2)
    assert got.thresholds.tolist() == [0.9, 0.8, 0.7, 0.5, 0.2]
    assert got.false_positives.tolist() == [0, 0.5, 0.5, 1, 1.5]
    assert got.sensitivity.tolist() == [0.25, 0.25, 0.5, 0.5, 0.5]
    assert (got.at(0.4), got.at(0.5), got.at(4)) == (0.25, 0.5, 0.5)
    assert got.mean((0.4, 0.5)) == pytest.approx(0.375)


def test_the_curve_never_falls() -> None:
    generator = np.random.default_rng(0)
    many = [
        Candidate(round(float(score), 1), f"l{lesion}" if lesion < 9 else None)
        for score, lesion in zip(generator.random(80), generator.integers(0, 20, 80), strict=True)
    ]
    got = froc(many, lesions=9, patients=7)
    assert (np.diff(got.sensitivity) >= 0).all()
    assert (np.diff(got.false_positives) >= 0).all()


def test_no_candidates_find_nothing() -> None:
    assert froc([], lesions=3, patients=2).mean() == 0


def test_no_lesions_leave_the_sensitivity_undefined() -> None:
    assert np.isnan(froc(COHORT, lesions=0, patients=2).sensitivity).all()
