"""Choose the temperature of probabilities on labelled patients: what is gained, and how sure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats
from scipy.interpolate import CubicSpline

from hilum.core.seeds import numpy_generator
from hilum.core.types import IGNORE

from ..operating.apply import tempered
from ..operating.regions import Regions

LOG_T = np.linspace(-1.4, 1.4, 21)
"""Logarithms of the temperatures that are tried: 0.25 to 4; between them a spline is read."""
FINE = np.linspace(LOG_T[0], LOG_T[-1], 561)
TINY = 1e-12
"""Probabilities below count as this, so that one voxel of float32 zero decides nothing alone."""
CHUNK = 2_000_000
"""Voxels that are looked at together, for memory."""


def nll_of_case(
    probability: np.ndarray, label: np.ndarray, regions: Regions | None = None
) -> np.ndarray:
    """Return the mean negative log-likelihood of the known voxels of a case at every temperature.

    Args:
        probability: `[classes, D, H, W]` at temperature 1.
        label: uint8 `[D, H, W]`; 255 is unknown.
        regions: What the classes are, if they may overlap: the sum over regions of the binary
            log-likelihood.

    Returns:
        float64 `[temperatures]`; NaN if nothing of the case is known.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599.
    """
    counts, total = 0, np.zeros(len(LOG_T))
    rows = max(1, CHUNK // max(label[0].size, 1))
    for first in range(0, len(label), rows):
        slab = label[first : first + rows]
        known = slab != IGNORE
        own = np.maximum(probability[:, first : first + rows][:, known], np.float32(TINY))
        total += _of_voxels(own, slab[known], regions)
        counts += int(np.count_nonzero(known))
    return total / counts if counts else np.full(len(LOG_T), np.nan)


def _of_voxels(values: np.ndarray, truth: np.ndarray, regions: Regions | None) -> np.ndarray:
    """Return the sum over voxels `[classes, N]` of their surprise at every temperature."""
    member = None if regions is None else regions.membership()[truth, 1:].T > 0
    found = np.empty(len(LOG_T))
    for row, log_t in enumerate(LOG_T):
        warm = tempered(values, float(np.exp(log_t)), member is not None)
        if member is None:
            right = np.take_along_axis(warm, truth[None].astype(np.int64), 0)
        else:
            right = np.where(member, warm[1:], 1 - warm[1:])
        found[row] = -np.log(np.maximum(right, TINY)).sum(dtype=float)
    return found


def choose_temperature(
    tables: Sequence[np.ndarray], patients: Sequence[str], prior_patients: float
) -> tuple[float, dict[str, Any]]:
    """Return the temperature of the smallest mean negative log-likelihood, and what speaks for it.

    As in `choose`: n patients take its logarithm n / (n + prior_patients) of the way from that of
    1; with two or more the gain is that on patients which did not choose, and without any gain the
    temperature stays 1.

    Args:
        tables: `nll_of_case` of each case.
        patients: Whose they are; cases of one count as their mean.
        prior_patients: Patients that a temperature of 1 is worth.

    Returns:
        The temperature, and `nll_at_1`, `nll_gain` with its interval (t over patients), and the
        range of the temperature if other patients choose (bootstrap).
    """
    pairs = [(t, p) for t, p in zip(tables, patients, strict=True) if np.isfinite(t).all()]
    names = sorted({patient for _, patient in pairs})
    if not names:
        return 1.0, {"temperature_kept": "1: no known voxel"}
    table = np.stack([np.mean([t for t, p in pairs if p == name], 0) for name in names])
    curves = CubicSpline(LOG_T, table, axis=1)(FINE)
    everyone, one = list(range(len(names))), int(np.abs(FINE).argmin())
    best = _best(curves, everyone, prior_patients)
    record: dict[str, Any] = {
        "nll_at_1": float(curves[:, one].mean()),
        "nll_here": float(curves[:, best].mean()),
    }
    if len(names) > 1:
        left_out = [
            _best(curves, [j for j in everyone if j != i], prior_patients) for i in everyone
        ]
        gains = np.array([curves[i, one] - curves[i, row] for i, row in enumerate(left_out)])
        mean, error = float(gains.mean()), float(gains.std(ddof=1)) / len(names) ** 0.5
        reach = float(stats.t.ppf(0.975, len(names) - 1)) * error
        record |= {"nll_gain": mean, "nll_gain_low": mean - reach, "nll_gain_high": mean + reach}
        generator, n = numpy_generator(0, "temperature"), len(names)
        draws = [
            FINE[_best(curves, generator.integers(n, size=n).tolist(), prior_patients)]
            for _ in range(200)
        ]
        low, high = np.exp(np.percentile(draws, (2.5, 97.5)))
        record |= {"temperature_low": float(low), "temperature_high": float(high)}
        if mean <= 0:
            record["temperature_kept"] = "1: no gain on patients that did not choose"
            return 1.0, record
    return float(np.exp(FINE[best])), record


def _best(curves: np.ndarray, members: Sequence[int], prior_patients: float) -> int:
    """Return the column of the best temperature of some patients, drawn towards 1."""
    share = len(members) / (len(members) + prior_patients)
    wanted = FINE[curves[list(members)].mean(0).argmin()] * share
    return int(np.abs(FINE - wanted).argmin())
