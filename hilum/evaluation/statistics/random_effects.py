"""Two-way random effects: an interval and a test for which patients and seeds are both random."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from .mean_squares import MeanSquares, mean_squares, square_of_mean
from .moderation import StudyVariances
from .runs import row_means


@dataclass(frozen=True)
class Estimate:
    """A mean over patients and seeds, as it would be for other patients and other seeds.

    Attributes:
        mean: The mean.
        error: Its standard error.
        freedom: Degrees of freedom of the t distribution.
        low: Lower end of the 95 % interval.
        high: Upper end.
        p_value: Two-sided p value of a mean of zero.
    """

    mean: float
    error: float
    freedom: float
    low: float
    high: float
    p_value: float

    def interval(self, level: float) -> tuple[float, float]:
        """Return the interval of another level, such as 0.9."""
        reach = _quantile(0.5 + level / 2, self.freedom) * self.error
        return self.mean - reach, self.mean + reach

    def tail(self, value: float, *, above: bool) -> float:
        """Return the one-sided p value of the mean being below (above) a value."""
        if self.error == 0:
            return 0.0 if (self.mean > value) == above and self.mean != value else 1.0
        t = (self.mean - value) / self.error
        return float(stats.t.sf(t if above else -t, self.freedom))

    def clipped(self, reach: float) -> Estimate:
        """Return the same with no end of the interval beyond `reach` on either side of 0.

        A difference of two Dice values, say, lies in -1 to 1; an end out there means that this
        side is open.
        """
        return replace(self, low=max(self.low, -reach), high=min(self.high, reach))


def estimate(
    table: np.ndarray, study: StudyVariances | None = None, weight: float = 2.0
) -> Estimate:
    r"""Return the mean of a table with its interval.

    Every value is a mean plus random effects of the patient, of the seed (an initialisation, a draw
    of the labelled patients: what all test patients of a run share), and of both together. With the
    mean squares of a two-way table of $P$ patients and $S$ seeds,

    $$\operatorname{se}^2 = \frac{MS_P + \max(MS_S - MS_{PS}, 0)}{P S}, \qquad
      \nu = \frac{(PS\operatorname{se}^2)^2}{MS_P^2 / (P - 1) + \ldots}$$

    where the terms left out are those of $MS_S$ and $MS_{PS}$, if these are in the numerator, and
    $\nu$ is at least the smaller one of $P - 1$ and $S - 1$. With the variances of a study, $MS_S$
    and $MS_{PS}$ and their degrees of freedom are moderated by them first, so that two or three
    seeds give intervals of useful width. A test that averages the seeds away first takes the seeds
    at hand for all that there are; where runs differ from seed to seed it finds differences between
    equal methods in up to 4 of 10 studies (`benchmarks/study_statistics.py`). With one seed that is
    all that can be done, and the interval is that of a t test over patients. Seeds without any
    value are left out, and patients without a value for some other seed; if fewer than two remain,
    seeds are averaged after all.

    Source:
        The analysis of several readers and several cases: Obuchowski and Rockette, Commun Stat
        Simul 1995; degrees of freedom after Hillis, Stat Med 2007, 26:596, with Satterthwaite's
        terms of all mean squares that are used. Readers are seeds here. Moderation: `moderation`.

    Args:
        table: `[patients, seeds]`, NaN where there is no value.
        study: What the study says of the variances; without it the table stands alone.
        weight: Sum of the squared weights of the arms in the table; 2 for a difference.
    """
    table = table[:, np.isfinite(table).any(0)]
    whole = table[np.isfinite(table).all(1)] if table.shape[1] > 1 else table
    if len(whole) < 2:
        whole = row_means(table)[:, None]
    whole = whole[np.isfinite(whole).all(1)]
    patients, seeds = whole.shape
    if patients == 0:
        return Estimate(math.nan, math.nan, math.nan, math.nan, math.nan, 1.0)
    mean = float(whole.mean())
    if patients == 1:
        return Estimate(mean, math.nan, math.nan, math.nan, math.nan, 1.0)
    square, freedom = _square(whole, study, weight)
    error = math.sqrt(square / (patients * seeds))
    if error == 0:
        return Estimate(mean, 0.0, freedom, mean, mean, float(mean == 0))
    reach = _quantile(0.975, freedom) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, freedom))
    return Estimate(mean, error, freedom, mean - reach, mean + reach, p_value)


def _square(table: np.ndarray, study: StudyVariances | None, weight: float) -> tuple[float, float]:
    """Return the mean square of the mean, and its degrees of freedom."""
    patients, seeds = table.shape
    if seeds == 1:
        return float(table.var(ddof=1)), patients - 1.0
    squares = mean_squares(table)
    of = (patients - 1.0, seeds - 1.0, (patients - 1.0) * (seeds - 1.0))
    freedom = MeanSquares(*map(np.asarray, of))
    if study is not None and study.arms > 2:
        squares, freedom = study.moderate(squares, freedom, weight, patients)
    square, known = square_of_mean(squares, freedom)
    return float(square), float(known)


def _quantile(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))
