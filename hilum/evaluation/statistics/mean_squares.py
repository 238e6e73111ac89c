"""Two-way mean squares of tables `[..., patients, models]`, and the variance of their mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class MeanSquares(NamedTuple):
    """Mean squares of a table in which every patient has a value of every model.

    Attributes:
        patients: Between patients; `patients - 1` degrees of freedom.
        models: Between models; `models - 1` degrees of freedom.
        both: Of the residual; the product of the two.
    """

    patients: np.ndarray
    models: np.ndarray
    both: np.ndarray


def mean_squares(tables: np.ndarray) -> MeanSquares:
    """Return the mean squares of each table.

    Args:
        tables: `[..., patients, models]`, two of each at least, without NaN.
    """
    patients, models = tables.shape[-2:]
    rows, columns = tables.mean(-1), tables.mean(-2)
    mean = rows.mean(-1)[..., None, None]
    rest = tables - rows[..., None] - columns[..., None, :] + mean
    return MeanSquares(
        models * rows.var(-1, ddof=1),
        patients * columns.var(-1, ddof=1),
        (rest**2).sum((-2, -1)) / ((patients - 1) * (models - 1)),
    )


def square_of_mean(squares: MeanSquares, freedom: MeanSquares) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean square of the overall mean, and its degrees of freedom.

    The square is `patients + max(models - both, 0)`, which divided by the number of values is the
    variance of the mean. Its freedom is Satterthwaite's, with the terms of all mean squares that
    are used, and not less than the smaller one of patients and models: with a subtracted mean
    square Satterthwaite's formula falls to any number above 0, although no sum of the two can be
    known less well than the part that is known less well.

    Source:
        Satterthwaite, Biometrics Bull 1946, 2:110; Hillis, Stat Med 2007, 26:596, for patients and
        readers. The bound is ours; `benchmarks/study_statistics.py` shows what it is worth.

    Args:
        squares: Mean squares.
        freedom: Degrees of freedom of each.
    """
    extra = np.maximum(squares.models - squares.both, 0.0)
    total = squares.patients + extra
    used = squares.models**2 / freedom.models + squares.both**2 / freedom.both
    parts = squares.patients**2 / freedom.patients + np.where(extra > 0, used, 0.0)
    least = np.minimum(freedom.patients, freedom.models)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(parts > 0, total**2 / parts, freedom.patients)
    return np.asarray(total), np.where(extra > 0, np.maximum(found, least), freedom.patients)
