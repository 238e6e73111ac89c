"""Variances moderated by a study: limma's numbers, the formulas written slowly, their limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize, special, stats

from hilum.evaluation.statistics.effects import main_effects
from hilum.evaluation.statistics.equivalence import equivalence
from hilum.evaluation.statistics.mean_squares import mean_squares
from hilum.evaluation.statistics.moderation import (
    Prior,
    StudyVariances,
    fit_scaled_f,
    study_variances,
    trigamma_inverse,
)
from hilum.evaluation.statistics.random_effects import estimate


def made(arms: int = 4, patients: int = 9, models: int = 3, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    easy = generator.normal(0.6, 0.15, (1, patients, 1)) + generator.normal(0, 0.1, (1, 1, models))
    runs = generator.normal(0, 0.05, (arms, 1, models))
    return easy + runs + generator.normal(0, 0.03, (arms, patients, models))


def alike(cube: np.ndarray) -> StudyVariances:
    """Return the variances of a study whose arms are taken to vary alike."""
    study = study_variances(cube)
    assert study is not None
    endless = np.array(np.inf)
    return study._replace(
        models=study.models._replace(freedom=endless), both=study.both._replace(freedom=endless)
    )


def test_the_inverse_of_trigamma_is_that_of_limmas_own_tests() -> None:
    got = trigamma_inverse(np.array([1e-6, 5, 1e6]))
    np.testing.assert_allclose(got, [1.000000e06, 4.961687e-01, 1.000001e-03], rtol=1e-6)


def test_the_prior_solves_smyths_moment_equations() -> None:
    """Mean and variance of log variances are those of a scaled F, found by bisection."""
    variances = np.random.default_rng(3).lognormal(0, 1.5, 12)
    logs = np.log(variances)
    want = logs.var(ddof=1) - special.polygamma(1, 2)
    half: Any = optimize.brentq(lambda x: float(special.polygamma(1, x)) - want, 1e-3, 1e6)
    centre = logs.mean() - special.digamma(2) + special.digamma(half) - math.log(half / 2)
    variance, freedom = fit_scaled_f(variances, 4.0)
    assert float(freedom) == pytest.approx(2 * half)
    assert math.log(float(variance)) == pytest.approx(centre)


def test_the_prior_of_many_arms_is_what_they_were_made_with() -> None:
    generator = np.random.default_rng(0)
    true = 0.04 * 6 / generator.chisquare(6, 40_000)
    variance, freedom = fit_scaled_f(true * generator.chisquare(3, true.shape) / 3, 3.0)
    assert float(variance) == pytest.approx(0.04, rel=0.03)
    assert float(freedom) == pytest.approx(6, rel=0.06)


def test_few_arms_must_differ_more_than_by_chance() -> None:
    """Of eight arms that vary alike one fit in twenty or so says that they do not, not a third."""
    variances = np.random.default_rng(0).chisquare(1, (4000, 8))
    believed, doubted = (np.isfinite(fit_scaled_f(variances, 1.0, d)[1]).mean() for d in (0, 1.645))
    assert 0.3 < believed < 0.5
    assert doubted < 0.1
    unlike = np.exp(np.random.default_rng(1).normal(0, 2.5, (4000, 30))) * variances[:, :1]
    assert np.isfinite(fit_scaled_f(unlike, 8.0, 1.645)[1]).mean() > 0.95


def test_moderation_by_hand() -> None:
    prior = Prior(np.array(2.0), np.array(6.0), 100.0)
    variance, freedom = prior.moderate(8.0, 2.0)
    assert (float(variance), float(freedom)) == ((6 * 2 + 2 * 8) / 8, 8.0)
    assert float(Prior(np.array(2.0), np.array(6.0), 5.0).moderate(8.0, 2.0)[1]) == 5.0
    variance, freedom = Prior(np.array(2.0), np.array(np.inf), 9.0).moderate(8.0, 2.0)
    assert (float(variance), float(freedom)) == (2.0, 9.0)


def test_arms_that_vary_alike_pool_to_the_square_of_treatment_by_reader() -> None:
    """The mean square of arm by model of a three-way analysis of variance, sum by sum."""
    cube = made()
    arms, patients, models = cube.shape
    total = 0.0
    for a in range(arms):
        for m in range(models):
            cell = cube[a, :, m].mean() - cube[a].mean() - cube[:, :, m].mean() + cube.mean()
            total += patients * cell**2
    study = study_variances(cube)
    assert study is not None
    assert math.isinf(float(study.models.freedom))
    assert float(study.models.variance) == pytest.approx(total / ((arms - 1) * (models - 1)))
    assert study.models.pooled == (arms - 1) * (models - 1)


def test_what_all_arms_share_counts_for_nothing() -> None:
    cube = made()
    hard = np.array([0.3, -0.2, 0.1])
    one, two = study_variances(cube), study_variances(cube + hard)
    assert one is not None
    assert two is not None
    assert float(one.models.variance) == pytest.approx(float(two.models.variance))


def test_two_arms_are_what_they_are_alone() -> None:
    cube = made(arms=2)
    table = cube[0] - cube[1]
    study = study_variances(cube)
    assert study is not None
    assert estimate(table, study) == estimate(table)
    squares, of_study = mean_squares(table), study.models.variance
    assert float(of_study) == pytest.approx(float(squares.models) / 2)


def test_two_seeds_of_a_study_give_a_useful_interval() -> None:
    cube = made(arms=8, models=2)
    study = study_variances(cube)
    tables = [one - cube[0] for one in cube[1:]]
    alone = np.median([e.high - e.low for e in map(estimate, tables)])
    shared = np.median([e.high - e.low for e in (estimate(t, study) for t in tables)])
    assert shared < 0.5 * alone


def test_the_weight_of_a_contrast_scales_the_study() -> None:
    """The mean of two differences from one arm: weights 1/2, 1/2, -1."""
    cube = made(arms=5)
    study = alike(cube)
    table = (cube[1] + cube[2]) / 2 - cube[0]
    found = estimate(table, study, 1.5)
    squares = mean_squares(table)
    extra = 1.5 * float(study.models.variance) - 1.5 * float(study.both.variance)
    want = math.sqrt((float(squares.patients) + extra) / table.size)
    assert found.error == pytest.approx(want)
    grid = {("r", "x"): cube[0], ("a", "x"): cube[1], ("r", "y"): cube[3], ("a", "y"): cube[4]}
    [effect, _] = main_effects(grid, ("one", "two"), ("r", "x"))
    four = study_variances(np.stack(list(grid.values())))
    mean = (cube[1] - cube[0] + cube[4] - cube[3]) / 2
    assert effect.estimate.error == pytest.approx(estimate(mean, four, 1.0).error)


def test_other_numbers_of_patients_are_put_on_one_scale() -> None:
    cube = made(arms=5, patients=20)
    study = alike(cube)
    few = (cube[1] - cube[0])[:10]
    squares = mean_squares(few)
    models, both = float(study.models.variance), float(study.both.variance)
    want = 2 * (both + (models - both) / 2)
    error = math.sqrt((float(squares.patients) + want - 2 * both) / few.size)
    assert estimate(few, study).error == pytest.approx(error)


def test_patients_and_models_that_an_arm_lacks_are_left_out() -> None:
    cube = made(arms=4, patients=9, models=4)
    holed = cube.copy()
    holed[1, 3, 0] = np.nan
    holed[2, :, 2] = np.nan
    whole = np.delete(np.delete(cube, 3, 1), 2, 2)
    assert study_variances(holed) == study_variances(whole)


@pytest.mark.parametrize("shape", [(1, 5, 3), (3, 1, 3), (3, 5, 1)])
def test_too_small_a_study_says_nothing(shape: tuple[int, int, int]) -> None:
    assert study_variances(np.random.default_rng(0).normal(0, 1, shape)) is None


def test_equal_arms_give_no_nan() -> None:
    cube = np.tile(made(arms=1), (4, 1, 1))
    found = estimate(cube[1] - cube[0], study_variances(cube))
    assert (found.error, found.p_value) == (0.0, 1.0)


def test_freedom_does_not_fall_without_end() -> None:
    """Eight patients, three seeds: unbounded, the interval of one study in some is without end."""
    generator = np.random.default_rng(0)
    least = math.inf
    for _ in range(4000):
        table = generator.normal(0, 0.03, (8, 1)) + generator.normal(0, 0.05, (8, 3))
        p, s, e = (float(x) for x in mean_squares(table))
        if s > e:
            unbounded = (p + s - e) ** 2 / (p**2 / 7 + s**2 / 2 + e**2 / 14)
            least = min(least, unbounded)
        assert estimate(table).freedom >= 2
    assert least < 1, "the bound was never needed, so the test proves nothing"
    worst = np.array([[0.1, -0.1], [-0.1, 0.1001]]) + np.zeros((2, 2))
    found = estimate(worst)
    assert found.high - found.mean <= stats.t.ppf(0.975, 1) * found.error * (1 + 1e-9)


def test_equivalence_uses_the_study_too() -> None:
    cube = made(arms=8, models=2)
    study = study_variances(cube)
    alone, shared = (equivalence(cube[1] - cube[0], 0.05, s) for s in (None, study))
    assert shared.high - shared.low < alone.high - alone.low
