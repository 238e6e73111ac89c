"""Values per patient of a metric that only a cohort has, by leaving out each patient once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .bootstrap import Pool, Sums


def pseudovalues(sums: Sums, pool: Pool) -> np.ndarray:
    r"""Return values `[patients, runs]` whose means over patients are the metric of each run.

    With the metric $\theta$ of all $P$ patients and $\theta_{-p}$ without one of them, the value of
    a patient is

    $$\theta + (P - 1)\,(\bar\theta_{-\cdot} - \theta_{-p}).$$

    Its spread over patients is that of the metric, so intervals and tests that take values per
    patient hold for DSCagg and F1agg, too: it is how readers are compared by the area under the
    curve, which no single case has.

    Args:
        sums: `[patients, runs]` each, over the cases of a patient.
        pool: The metric.

    Source:
        Jackknife pseudovalues in an analysis of variance: Dorfman, Berbaum and Metz, Invest Radiol
        1992, 27:723. We centre them, so that their mean is the metric itself.
    """
    patients = len(next(iter(sums.values())))
    whole = pool({key: table.sum(0, keepdims=True) for key, table in sums.items()})
    without = pool({key: table.sum(0, keepdims=True) - table for key, table in sums.items()})
    return whole + (patients - 1) * (without.mean(0, keepdims=True) - without)


def jackknife(statistic: Callable[[Sequence[int]], np.ndarray], patients: int) -> np.ndarray:
    """Return pseudovalues `[patients, numbers]` of any statistic, as those of `pseudovalues`.

    Args:
        statistic: Takes the numbers of the patients that are in, and returns `[numbers]`.
        patients: How many there are.
    """
    everyone = range(patients)
    whole = statistic(everyone)
    without = np.stack([statistic([p for p in everyone if p != one]) for one in everyone])
    return whole + (patients - 1) * (without.mean(0) - without)
