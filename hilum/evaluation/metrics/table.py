"""Every metric: what it is called, what it means, and what it is when a mask is empty."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hilum.core.geometry import Grid
from hilum.core.registry import Table

Measure = Callable[[np.ndarray, np.ndarray, Grid, Mapping[str, np.ndarray]], float]


@dataclass(frozen=True)
class Metric:
    """Definition of one number of a table.

    Attributes:
        title: Heading.
        definition: What it is.
        empty: Its value when a mask is empty.
        better: Which direction is better.
        pooled: Whether it exists for a cohort only.
        pet: Whether it needs a PET scan.
        measure: For a metric of others: from prediction and reference, bool `[D, H, W]` without
            unknown voxels, their grid, and physical volumes by modality, to the value of a case.
    """

    title: str
    definition: str
    empty: str
    better: Literal["higher", "lower", "neither"] = "higher"
    pooled: bool = False
    pet: bool = False
    measure: Measure | None = None


_OURS = {
    "dice": Metric("Dice", "2 TP / (2 TP + FP + FN) over voxels", "both empty: 1; one empty: 0"),
    "iou": Metric("IoU", "TP / (TP + FP + FN) over voxels", "both empty: 1; one empty: 0"),
    "dscagg": Metric(
        "DSCagg",
        "2 sum |P and G| / sum (|P| + |G|) over all cases, volumes in ml (HECKTOR)",
        "an empty case adds nothing",
        pooled=True,
    ),
    "f1agg": Metric(
        "F1agg",
        "2 TP / (2 TP + FP + FN) over the lesions of all cases; a lesion is a component (26 "
        "neighbours), found if a prediction, each used once, overlaps it with IoU above 0.3",
        "an empty case adds its false positives",
        pooled=True,
    ),
    "f1agg_50": Metric("F1agg 0.5", "as F1agg, with IoU above 0.5", "as F1agg", pooled=True),
    "lesion_precision": Metric(
        "Lesion precision",
        "predicted lesions with a match / predicted lesions, as in F1agg",
        "no prediction: undefined",
    ),
    "lesion_dice": Metric(
        "Lesion Dice",
        "mean of Dice over lesions, each against the predicted components that touch it; a made-up "
        "component counts 0 (BraTS 2023, without dilation)",
        "both empty: undefined; a missed lesion: 0",
    ),
    "lesion_hd95_mm": Metric(
        "Lesion HD95 (mm)",
        "mean of HD95 over lesions, paired as for lesion Dice",
        "both empty: undefined; a missed lesion or made-up component: diagonal of the image",
        "lower",
    ),
    "lesion_assd_mm": Metric(
        "Lesion ASSD (mm)",
        "mean of ASSD over lesions, paired as for lesion Dice",
        "both empty: undefined; a missed lesion or made-up component: diagonal of the image",
        "lower",
    ),
    "lesion_nsd_2mm": Metric(
        "Lesion NSD 2 mm",
        "mean of NSD 2 mm over lesions, paired as for lesion Dice",
        "both empty: undefined; a missed lesion or made-up component: 0",
    ),
    "lesion_sensitivity": Metric(
        "Lesion sensitivity", "found lesions / lesions, as in F1agg", "no lesion: undefined"
    ),
    "false_positives": Metric(
        "False positives", "predicted lesions without a match", "none: 0", "lower"
    ),
    "nsd_2mm": Metric(
        "NSD 2 mm",
        "share of the surface voxels of both masks within 2 mm of the other surface",
        "both empty: 1; one empty: 0",
    ),
    "hd95_mm": Metric(
        "HD95 (mm)",
        "larger of the two directed 95th percentiles of the distances between surface voxels",
        "both empty: undefined; one empty: diagonal of the image",
        "lower",
    ),
    "assd_mm": Metric(
        "ASSD (mm)",
        "mean of the two directed mean distances between surface voxels (as LNQ 2023)",
        "both empty: undefined; one empty: diagonal of the image",
        "lower",
    ),
    "fpv_ml": Metric(
        "FPV (ml)",
        "volume of predicted components (18 neighbours) that touch no reference voxel (autoPET)",
        "no prediction: 0",
        "lower",
    ),
    "fnv_ml": Metric(
        "FNV (ml)",
        "volume of reference components (18 neighbours) that touch no predicted voxel (autoPET)",
        "no reference: undefined",
        "lower",
    ),
    "volume_error_ml": Metric(
        "Volume error (ml)", "predicted minus reference volume", "as defined", "neither"
    ),
    "tlg_error": Metric(
        "TLG error (SUV ml)",
        "predicted minus reference sum over nodes of SUVmean times volume; a mask's MTV is its "
        "volume",
        "an empty mask has 0",
        "neither",
        pet=True,
    ),
    "suv_max_error": Metric(
        "SUVmax error",
        "SUVmax of the hottest node, predicted minus reference",
        "one empty: undefined",
        "neither",
        pet=True,
    ),
    "suv_peak_error": Metric(
        "SUVpeak error",
        "highest mean SUV over a sphere of 1 ml centred in a node, predicted minus reference",
        "one empty: undefined",
        "neither",
        pet=True,
    ),
    "sensitivity_lt5": Metric(
        "< 5 mm", "sensitivity of lesions with a short axis below 5 mm", "no lesion: undefined"
    ),
    "sensitivity_5_10": Metric("5-10 mm", "the same for 5 to 10 mm", "no lesion: undefined"),
    "sensitivity_10_15": Metric("10-15 mm", "the same for 10 to 15 mm", "no lesion: undefined"),
    "sensitivity_ge15": Metric("≥ 15 mm", "the same from 15 mm on", "no lesion: undefined"),
}

METRICS: Table[Metric] = Table(
    "metrics", _OURS, base="hilum.evaluation.metrics.table:Metric", objects=True
)
"""Ours and those of others, by name."""

SIZE_BANDS: dict[str, tuple[float, float]] = {
    "lt5": (0, 5),
    "5_10": (5, 10),
    "10_15": (10, 15),
    "ge15": (15, float("inf")),
}
"""Short axis in mm, as RECIST 1.1 draws the lines at 10 and 15."""
