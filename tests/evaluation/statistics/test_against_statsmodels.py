"""What other statistical packages compute, hilum computes, too."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_paired

from hilum.evaluation.statistics.comparison import holm
from hilum.evaluation.statistics.equivalence import equivalence
from hilum.evaluation.statistics.mean_squares import mean_squares
from hilum.evaluation.statistics.moderation import study_variances


def test_holm() -> None:
    p_values = np.random.default_rng(0).random(9) ** 3
    want: Any = multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values.tolist()), want)


def test_equivalence() -> None:
    generator = np.random.default_rng(1)
    a = generator.normal(0.6, 0.1, 12)
    b = a + generator.normal(0.01, 0.03, 12)
    want = ttost_paired(a, b, -0.03, 0.03)[0]
    assert equivalence((a - b)[:, None], 0.03).p_value == pytest.approx(want)


def test_mean_squares_of_two_and_three_ways() -> None:
    cube = np.random.default_rng(2).normal(0, 1, (4, 6, 3))
    arm, patient, run = (index.ravel() for index in np.indices(cube.shape))
    frame = pd.DataFrame({"y": cube.ravel(), "a": arm, "p": patient, "r": run})
    three = anova_lm(ols("y ~ C(a)*C(p) + C(a)*C(r) + C(p)*C(r)", frame).fit())
    study = study_variances(cube)
    assert study is not None
    of_runs = three.loc["C(a):C(r)", "mean_sq"]
    assert np.isinf(study.models.freedom)
    assert float(study.models.variance) == pytest.approx(of_runs)
    assert float(study.both.variance) == pytest.approx(three.loc["Residual", "mean_sq"])
    two = anova_lm(ols("y ~ C(p) + C(r)", frame[frame["a"] == 0]).fit())["mean_sq"]
    got = [float(part) for part in mean_squares(cube[0])]
    assert got == pytest.approx([two["C(p)"], two["C(r)"], two["Residual"]])
