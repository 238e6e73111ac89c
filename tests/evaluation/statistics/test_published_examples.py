"""Statistics give the numbers that were printed with them, in the paper or the manual."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.metrics.calibration import reliability
from hilum.evaluation.statistics import comparison
from hilum.evaluation.statistics.bland_altman import agreement
from hilum.evaluation.statistics.mean_squares import mean_squares

DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]) / 8
"""Fisher, The Design of Experiments, 1935, table 3: crossed minus self-fertilised maize, inches."""

BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
"""Hollander and Wolfe, Nonparametric Statistical Methods, 1973, table 3.1: depression scales."""

WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
"""Bland and Altman, Lancet 1986, table 1: peak expiratory flow by two meters, l/min."""

JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
"""Shrout and Fleiss, Psychological Bulletin 1979, table 2: six targets, four judges."""


def test_sign_flips_of_darwins_maize_by_fisher(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,726 of the 32,768 assignments of signs, 5.267 %, are as far from zero (section 21)."""
    assert comparison.sign_flip(DARWIN, n=100_000) == pytest.approx(0.05267, abs=0.002)
    monkeypatch.setattr(comparison, "EXACT_UP_TO", 15)
    assert comparison.sign_flip(DARWIN) == 1726 / 32768


def test_signed_ranks_of_hollander_and_wolfe() -> None:
    """R's manual of wilcox.test prints 0.01953 for the one-sided test, so twice that here."""
    patients = {
        str(number): {0: before - after}
        for number, (before, after) in enumerate(zip(BEFORE, AFTER, strict=True))
    }
    zero = {name: {0: 0.0} for name in patients}
    found = comparison.paired_comparison(patients, zero, n_bootstrap=50)
    assert found.p_wilcoxon == pytest.approx(2 * 0.01953, abs=1e-5)


def test_agreement_of_two_flow_meters_by_bland_and_altman() -> None:
    """The difference is -2.1 l/min with a standard deviation of 38.8 l/min."""
    found = agreement(WRIGHT, MINI)
    assert found.bias == pytest.approx(-2.1, abs=0.05)
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(38.8, abs=0.05)


def test_concordance_of_the_same_meters() -> None:
    """0.943, as Steichen and Cox print it (Stata Journal 2002, 2:183)."""
    assert agreement(WRIGHT, MINI).ccc == pytest.approx(0.943, abs=5e-4)


def test_mean_squares_of_shrout_and_fleiss() -> None:
    """Between targets 11.24, between judges 32.49, residual 1.02 (table 3)."""
    found = [float(part) for part in mean_squares(np.array(JUDGES, float))]
    assert found == pytest.approx([11.24, 32.49, 1.02], abs=0.005)


def test_the_score_of_briers_forecasts() -> None:
    """0.19 over both outcomes (Monthly Weather Review 1950, table 1), half of it over one."""
    rain = np.array([0.7, 0.9, 0.8, 0.4, 0.2, 0, 0, 0, 0, 0.1])
    came = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    assert reliability(rain, came).brier == pytest.approx(0.19 / 2)
