"""Every metric: what it is called, what it means, and what it is when a mask is empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hilum.core.geometry import Grid
from hilum.core.registry import Table

from .empty import MEASURED, EmptyRule, rule_of

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
        probability: Whether it needs the probabilities behind a mask.
        measure: For a metric of others: from prediction and reference, bool `[D, H, W]` without
            unknown voxels, their grid, and physical volumes by modality, to the value of a case.
        rule: For a metric of others: what it is where a mask is empty, as `empty.OVERLAP` or
            `empty.DISTANCE`; `measure` is asked only where the rule leaves it open. Where nothing
            is known, every metric is undefined.
    """

    title: str
    definition: str
    empty: str
    better: Literal["higher", "lower", "neither"] = "higher"
    pooled: bool = False
    pet: bool = False
    probability: bool = False
    measure: Measure | None = None
    rule: EmptyRule = MEASURED


def others() -> dict[str, tuple[Measure, EmptyRule]]:
    """Return how to measure the metrics of others, and their rules, by name."""
    return {n: (m.measure, m.rule) for n, m in METRICS.working() if m.measure is not None}


def _metric(
    name: str,
    title: str,
    definition: str,
    better: Literal["higher", "lower", "neither"] = "higher",
    *,
    pet: bool = False,
    probability: bool = False,
) -> Metric:
    """Return a metric of a case, with the text of its empty rule."""
    return Metric(title, definition, str(rule_of(name)), better, pet=pet, probability=probability)


_OURS = {
    "dice": _metric("dice", "Dice", "2 TP / (2 TP + FP + FN) over voxels"),
    "dice_argmax": _metric(
        "dice_argmax",
        "Dice at argmax",
        "Dice of the most probable class, whatever the operating point of the segmenter",
        probability=True,
    ),
    "voxel_average_precision": _metric(
        "voxel_average_precision",
        "Average precision (voxels)",
        "sum of (R_n - R_{n-1}) P_n over the probabilities of the voxels: no threshold",
        probability=True,
    ),
    "iou": _metric("iou", "IoU", "TP / (TP + FP + FN) over voxels"),
    "dscagg": Metric(
        "DSCagg",
        "2 sum |P and G| / sum (|P| + |G|) over all cases, volumes in ml (HECKTOR)",
        "an empty case adds nothing",
        pooled=True,
    ),
    "f1agg": Metric(
        "F1agg",
        "2 TP / (2 TP + FP + FN) over the lesions of all cases; a lesion is a component (26 "
        "neighbours), found if a prediction, each used once, overlaps it with IoU above 0.3 (or by "
        "the hit criterion that was set)",
        "an empty case adds its false positives",
        pooled=True,
    ),
    "f1agg_50": Metric("F1agg 0.5", "as F1agg, with IoU above 0.5", "as F1agg", pooled=True),
    "lesion_precision": _metric(
        "lesion_precision",
        "Lesion precision",
        "predicted lesions with a match / predicted lesions, as in F1agg",
    ),
    "lesion_dice": _metric(
        "lesion_dice",
        "Lesion Dice",
        "mean of Dice over lesions, each against the predicted components that touch it; a missed "
        "lesion and a false positive component count 0 (BraTS 2023, without dilation)",
    ),
    "lesion_hd95_mm": _metric(
        "lesion_hd95_mm",
        "Lesion HD95 (mm)",
        "mean of HD95 over lesions, paired as for lesion Dice; a missed lesion or false positive "
        "component: diagonal of the image",
        "lower",
    ),
    "lesion_masd_mm": _metric(
        "lesion_masd_mm",
        "Lesion MASD (mm)",
        "mean of MASD over lesions, paired as for lesion Dice; a missed lesion or false positive "
        "component: diagonal of the image",
        "lower",
    ),
    "lesion_nsd_2mm": _metric(
        "lesion_nsd_2mm",
        "Lesion NSD 2 mm",
        "mean of NSD 2 mm over lesions, paired as for lesion Dice; a missed lesion or false "
        "positive component: 0",
    ),
    "lesion_sensitivity": _metric(
        "lesion_sensitivity", "Lesion sensitivity", "found lesions / lesions, as in F1agg"
    ),
    "lesion_f1_auc": _metric(
        "lesion_f1_auc",
        "Lesion F1 over IoU",
        "mean over IoU 0.1, 0.2, ..., 0.9 of 2 TP / (2 TP + FP + FN) over the lesions of the case",
    ),
    "panoptic_quality": _metric(
        "panoptic_quality",
        "Panoptic quality",
        "sum of IoU over lesions matched with IoU above 0.5 / (TP + (FP + FN) / 2) (Kirillov 2019)",
    ),
    "segmentation_quality": _metric(
        "segmentation_quality", "Segmentation quality", "mean IoU of those matched lesions"
    ),
    "recognition_quality": _metric(
        "recognition_quality", "Recognition quality", "TP / (TP + (FP + FN) / 2) of that matching"
    ),
    "false_positives": _metric(
        "false_positives", "False positives", "predicted lesions without a match", "lower"
    ),
    "nsd_2mm": _metric(
        "nsd_2mm",
        "NSD 2 mm",
        "fraction of the area of both surfaces within 2 mm of the other surface (Nikolov 2021)",
    ),
    "hd95_mm": _metric(
        "hd95_mm",
        "HD95 (mm)",
        "larger of the two directed 95th percentiles of the distances between surface voxels",
        "lower",
    ),
    "masd_mm": _metric(
        "masd_mm",
        "MASD (mm)",
        "mean of the two directed mean distances between surface voxels (Metrics Reloaded; LNQ "
        "2023 calls it ASSD)",
        "lower",
    ),
    "assd_mm": _metric(
        "assd_mm",
        "ASSD (mm)",
        "mean of the distances of both directions in one pool (Metrics Reloaded)",
        "lower",
    ),
    "fpv_ml": _metric(
        "fpv_ml",
        "FPV (ml)",
        "volume of predicted components (18 neighbours) that touch no reference voxel (autoPET)",
        "lower",
    ),
    "fnv_ml": _metric(
        "fnv_ml",
        "FNV (ml)",
        "volume of reference components (18 neighbours) that touch no predicted voxel (autoPET)",
        "lower",
    ),
    "volume_error_ml": _metric(
        "volume_error_ml", "Volume error (ml)", "predicted minus reference volume", "neither"
    ),
    "tlg_error": _metric(
        "tlg_error",
        "TLG error (SUV ml)",
        "predicted minus reference sum over nodes of SUVmean times volume; a mask's MTV is its "
        "volume; an empty mask has 0",
        "neither",
        pet=True,
    ),
    "suv_max_error": _metric(
        "suv_max_error",
        "SUVmax error",
        "SUVmax of the hottest node, predicted minus reference",
        "neither",
        pet=True,
    ),
    "suv_peak_error": _metric(
        "suv_peak_error",
        "SUVpeak error",
        "highest mean SUV over a sphere of 1 ml centred in a node, predicted minus reference",
        "neither",
        pet=True,
    ),
    "rater_dice": Metric(
        "Dice between raters",
        "mean of Dice over the pairs of raters of a case: what a prediction can be compared with",
        "two raters who mark nothing: undefined",
    ),
    "rater_dice_prediction": Metric(
        "Dice with each rater",
        "mean over raters of the Dice of prediction and rater",
        "both empty: undefined; else as defined",
    ),
    "rater_disagreement_ml": Metric(
        "Disagreement of raters (ml)",
        "volume that some raters marked, and others who knew did not",
        "as defined",
        "neither",
    ),
    "rater_errors": Metric(
        "Errors where raters differ",
        "fraction of the wrongly predicted voxels at which raters differ",
        "no error: undefined",
        "neither",
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

_NSD = re.compile(r"(?:lesion_)?nsd_(\d+(?:\.\d+)?)mm")


def nsd_metrics(tolerance_mm: float) -> dict[str, Metric]:
    """Return the definitions of the surface Dice at a tolerance."""
    found = {}
    for name in ("nsd", "lesion_nsd"):
        base, mm = _OURS[f"{name}_2mm"], f"{tolerance_mm:g} mm"
        found[f"{name}_{tolerance_mm:g}mm"] = replace(
            base,
            title=base.title.replace("2 mm", mm),
            definition=base.definition.replace("2 mm", mm),
        )
    return found


def metric_of(name: str) -> Metric:
    """Return the definition of a metric, of the surface Dice at whatever tolerance.

    Raises:
        KeyError: If there is none of this name.
    """
    match = _NSD.fullmatch(name)
    return nsd_metrics(float(match[1]))[name] if match else METRICS[name]


def is_metric(name: str) -> bool:
    """Return whether there is a metric of this name."""
    return name in METRICS or is_nsd(name)


def is_nsd(name: str) -> bool:
    """Return whether a metric is the surface Dice, of masks or lesions, at some tolerance."""
    return bool(_NSD.fullmatch(name))


def nsd_tolerances(names: Iterable[str]) -> list[float]:
    """Return the tolerances in mm of the surface Dice among names of metrics."""
    found = (re.fullmatch(r"nsd_([0-9.]+)mm", name) for name in names)
    return sorted({float(one[1]) for one in found if one})


SIZE_BANDS: dict[str, tuple[float, float]] = {
    "lt5": (0, 5),
    "5_10": (5, 10),
    "10_15": (10, 15),
    "ge15": (15, float("inf")),
}
"""Short axis in mm, as RECIST 1.1 draws the lines at 10 and 15."""
