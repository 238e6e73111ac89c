"""Two-way random effects: an interval and a test for which patients and seeds are both chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

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


def estimate(table: np.ndarray) -> Estimate:
    r"""Return the mean of a table with its interval.

    Every value is a mean plus chance of the patient, of the seed (an initialisation, a draw of the
    labelled patients: what all test patients of a run share), and of both together. With the mean
    squares of a two-way table of $P$ patients and $S$ seeds,

    $$\operatorname{se}^2 = \frac{MS_P + \max(MS_S - MS_{PS}, 0)}{P S}, \qquad
      \nu = \frac{(PS\operatorname{se}^2)^2}{MS_P^2 / (P - 1) + \ldots}$$

    where the terms left out are those of $MS_S$ and $MS_{PS}$, if these are in the numerator. A
    test that averages the seeds away first takes the seeds at hand for all that there are; where
    runs differ from seed to seed it finds differences between equal methods in up to 4 of 10
    studies (`benchmarks/false_alarms.py`). With one seed that is all that can be done, and the
    interval is that of a t test over patients. Seeds without any value are left out, and patients
    without a value for some other seed; if fewer than two remain, seeds are averaged after all.

    Source:
        The analysis of several readers and several cases: Obuchowski and Rockette, Commun Stat
        Simul 1995; degrees of freedom after Hillis, Stat Med 2007, 26:596, with Satterthwaite's
        terms of all mean squares that are used. Readers are seeds here.

    Args:
        table: `[patients, seeds]`, NaN where there is no value.
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
    squares, freedom = _squares(whole)
    error = math.sqrt(squares / (patients * seeds))
    if error == 0:
        return Estimate(mean, 0.0, freedom, mean, mean, float(mean == 0))
    reach = _quantile(0.975, freedom) * error
    p_value = float(2 * stats.t.sf(abs(mean) / error, freedom))
    return Estimate(mean, error, freedom, mean - reach, mean + reach, p_value)


def _squares(table: np.ndarray) -> tuple[float, float]:
    """Return the mean square of the mean, and its degrees of freedom."""
    patients, seeds = table.shape
    rows, columns, mean = table.mean(1), table.mean(0), table.mean()
    of_patients = float(seeds * rows.var(ddof=1))
    if seeds == 1:
        return of_patients, patients - 1.0
    of_seeds = float(patients * columns.var(ddof=1))
    rest = table - rows[:, None] - columns + mean
    both = (patients - 1) * (seeds - 1)
    of_both = float((rest**2).sum() / both)
    extra = max(of_seeds - of_both, 0.0)
    total = of_patients + extra
    parts = of_patients**2 / (patients - 1)
    if extra:
        parts += of_seeds**2 / (seeds - 1) + of_both**2 / both
    return total, (total**2 / parts if parts else patients - 1.0)


def _quantile(share: float, freedom: float) -> float:
    return float(stats.t.ppf(share, freedom))
