"""Choose an operating point without labels: from what nodes are expected of a patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field, model_validator
from scipy import ndimage, special

from hilum.core.connected_components import components
from hilum.core.seeds import numpy_generator
from hilum.core.settings import Settings, validate

from ..operating.point import OperatingPoint

LOGITS = np.linspace(-6, 6, 31)
"""Where thresholds may lie: 0.002 to 0.998, 0.5 among them; no label held this network in check."""


class ExpectedSettings(Settings):
    """What nodes are expected of a patient, for an operating point that no label chose.

    Without number and total_ml the threshold stays at 0.5.

    Source:
        Setting a threshold so that the predicted proportion is the expected one: Saerens et al.,
        "Adjusting the Outputs of a Classifier to New a Priori Probabilities", Neural Computation
        2002. Numbers to state where nothing better is known: 822 nodes of 175 patients of NIH CT
        Lymph Nodes with an axial short axis of 10 mm or more are 4.7 nodes a patient and about
        22 ml. SUV 4 as a limit of avid lymphoma, one of those that Barrington et al. compare, Eur J
        Nucl Med Mol Imaging 2019.
    """

    volume_ml: tuple[float, float] = Field(
        (0.05, 150.0),
        description="smallest and largest volume of a node or of nodes grown together, ml; others "
        "are dropped",
    )
    number: float | None = Field(
        None, gt=0, description="mean number of nodes per patient; empty: not used"
    )
    total_ml: float | None = Field(
        None, gt=0, description="mean volume of all nodes of a patient, ml; empty: not used"
    )
    at_most: int | None = Field(
        None, ge=1, description="most nodes of each class in a case, the largest; empty: all"
    )
    suv_max: float | None = Field(
        None,
        gt=0,
        description="SUVmax that a node has at least, in place of the smallest volume; where "
        "uptake is unknown all are kept; 4 where only avid nodes count; empty: not looked at",
    )
    patients: int = Field(
        50, ge=1, description="most unlabelled patients to predict for the choice"
    )

    @model_validator(mode="after")
    def _in_order(self) -> ExpectedSettings:
        if not 0 <= self.volume_ml[0] < self.volume_ml[1]:
            raise ValueError(
                f"volume_ml must be the smallest and the largest volume: {self.volume_ml}"
            )
        return self

    def filters(self) -> dict[str, float | int | None]:
        """Return which components are kept, by the names of `OperatingPoint`."""
        low, high = self.volume_ml
        return {
            # The floor alone decides below a volume that no component may exceed.
            "min_volume_ml": low if self.suv_max is None else high,
            "max_volume_ml": high,
            "suv_floor": self.suv_max,
            "at_most": self.at_most,
        }


@dataclass(frozen=True)
class ExpectedChoice:
    """A point that no label chose, and what speaks for it.

    Attributes:
        point: With the record.
        thresholds: That were tried, 0 to 1.
        means: Mean number of components and mean total volume (ml) of a patient at each,
            `[thresholds, 2]`.
    """

    point: OperatingPoint
    thresholds: np.ndarray
    means: np.ndarray


def statistics_of_case(
    probability: np.ndarray,
    voxel_ml: float,
    settings: ExpectedSettings,
    overlapping: bool = False,
    suv: np.ndarray | None = None,
) -> np.ndarray:
    """Return number and total volume of what a case has at every threshold, filters applied.

    Classes have one threshold and count together: a component is of one class. Regions overlap, so
    that components of their union count.

    Args:
        probability: `[classes, D, H, W]`.
        voxel_ml: Volume of a voxel.
        settings: Smallest and largest volume, largest number, minimum uptake.
        overlapping: Whether the outputs are regions.
        suv: Uptake `[D, H, W]`; without it nothing is dropped by it.

    Returns:
        `[thresholds, 2]`.
    """
    best = probability[1:].max(0)
    own = np.zeros(best.shape, np.int64) if overlapping else probability[1:].argmax(0)
    found = np.zeros((len(LOGITS), 2))
    low, high = settings.volume_ml
    for row, limit in enumerate(special.expit(LOGITS).astype(np.float32)):
        mask = best > limit
        for value in np.unique(own[mask]):
            labels, count = components(mask & (own == value))
            volumes = np.bincount(labels.ravel(), minlength=count + 1)[1:] * voxel_ml
            keep = volumes >= low * (1 - 1e-9)
            if settings.suv_max is not None:
                keep = np.ones(count, bool)
                if suv is not None and count:
                    top = np.asarray(ndimage.maximum(suv, labels, range(1, count + 1)), float)
                    keep = ~(top < settings.suv_max)
            volumes = volumes[keep & (volumes <= high * (1 + 1e-9))]
            kept = np.sort(volumes)[::-1][: settings.at_most]
            found[row] += len(kept), kept.sum()
    return found


def choose_expected(
    tables: Sequence[np.ndarray],
    patients: Sequence[str],
    classes: int,
    settings: ExpectedSettings,
    prior_patients: float,
) -> ExpectedChoice:
    """Return the point whose mean number and volume per patient are nearest to the expected.

    Nearest by the sum of both absolute log ratios; ties go to the threshold nearest to 0.5. As in
    `choose`, n patients take the logit n / (n + prior_patients) of the way from 0.5.

    Args:
        tables: `statistics_of_case` of each case.
        patients: Whose they are; cases of one count as their mean.
        classes: Outputs, background included.
        settings: What is expected.
        prior_patients: Patients that a threshold of 0.5 is worth.
    """
    names = sorted(set(patients))
    of_each = [[t for t, p in zip(tables, patients, strict=True) if p == name] for name in names]
    table = np.stack([np.mean(own, 0) for own in of_each])
    share = len(names) / (len(names) + prior_patients)
    means = table.mean(0)
    row = _nearest(means, settings, share)
    record: dict[str, Any] = {"by": "expected statistics", "patients": len(names)}
    default = int(np.argmin(np.abs(LOGITS)))
    for column, name in enumerate(("number", "total_ml")):
        record[f"{name}_expected"] = getattr(settings, name)
        record[f"{name}_at_half"] = float(means[default, column])
    point: dict[str, Any] = settings.filters()
    if settings.number is None and settings.total_ml is None:
        record |= {"number": float(means[default, 0]), "total_ml": float(means[default, 1])}
        record["kept"] = "a threshold of 0.5: no number and no total volume of nodes is expected"
    elif row is None:
        record["kept"] = "a threshold of 0.5: nothing of that size at any threshold"
    else:
        record |= {
            "number": float(means[row, 0]),
            "total_ml": float(means[row, 1]),
            **_sure(table, settings, share),
        }
        if row != default:
            point["thresholds"] = (float(special.expit(LOGITS[row])),) * (classes - 1)
    made = validate(OperatingPoint, point | {"record": record})
    return ExpectedChoice(made, special.expit(LOGITS), means)


def _nearest(means: np.ndarray, settings: ExpectedSettings, share: float) -> int | None:
    """Return the row of the threshold, drawn towards 0.5; nothing if nothing is found at any."""
    away = np.zeros(len(means))
    for column, expected in enumerate((settings.number, settings.total_ml)):
        if expected is not None:
            with np.errstate(divide="ignore"):
                away += np.abs(np.log(means[:, column] / expected))
    if not np.isfinite(away).any():
        return None
    ties = np.flatnonzero(away <= away.min() + 1e-12)
    wanted = LOGITS[ties[np.argmin(np.abs(LOGITS[ties]))]] * share
    return int(np.argmin(np.abs(LOGITS - wanted)))


def _sure(
    table: np.ndarray, settings: ExpectedSettings, share: float, draws: int = 200
) -> dict[str, float]:
    """Return how the threshold varies if other patients choose (bootstrap)."""
    generator, n = numpy_generator(0, "expected statistics"), len(table)
    rows = [
        _nearest(table[generator.integers(n, size=n)].mean(0), settings, share)
        for _ in range(draws)
    ]
    found = [LOGITS[row] for row in rows if row is not None]
    low, high = special.expit(np.percentile(found, (2.5, 97.5)))
    return {"threshold_low": float(low), "threshold_high": float(high)}
