"""The report of an evaluation as one page: every metric with its definition and empty rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hilum.core.files import write_text

from .charts.svg import lines, scatter
from .html.parts import joined, picture
from .html.rendering import render

Numbers = Mapping[str, float]
SHOWN_SITES = ("dice", "dscagg", "f1agg", "lesion_sensitivity", "hd95_mm", "volume_error_ml")
MEASURES = {
    "volume_ml": "volume = MTV, ml",
    "tlg": "TLG, SUV ml",
    "suv_max": "SUVmax",
    "suv_peak": "SUVpeak",
}
DRAWN = ("volume_ml", "tlg")
"""Measures with a Bland-Altman plot."""


def write_evaluation_page(
    path: str | Path,
    cohort: Mapping[str, Any],
    cases: Mapping[int, Mapping[str, Numbers]],
    pairs: Sequence[Mapping[str, Any]] = (),
    pictures: Mapping[str, Path] | None = None,
) -> None:
    """Write a page that needs no other file and no network.

    Args:
        path: HTML file.
        cohort: Content of `cohort.json`.
        cases: Metrics of each case, by class.
        pairs: Rows of `pairs.csv`.
        pictures: Of cases that miss nodes or make some up, by what they show.
    """
    classes = [
        {
            "value": value,
            "metrics": _metrics(
                metrics, cohort["definitions"], cohort.get("undefined", {}).get(value, {})
            ),
            "agreement": _agreement(cohort["agreement"].get(value, {})),
            "charts": _bland_altman(cohort["agreement"].get(value, {}), cases[int(value)]),
            "sites": _sites(cohort, value),
            "worst": _worst(cases[int(value)]),
        }
        for value, metrics in cohort["classes"].items()
    ]
    text = render(
        "evaluation/evaluation.html.j2",
        title="Evaluation",
        cases=cohort["cases"],
        both_empty="1" if cohort.get("both_empty", "1") == "1" else "undefined",
        classes=classes,
        site_titles=[cohort["definitions"][name]["title"] for name in SHOWN_SITES],
        scores=_scores(cohort.get("scores")),
        pairs=[_pair(row) for row in pairs],
        pictures=joined(picture(file, caption) for caption, file in (pictures or {}).items()),
    )
    write_text(path, text)


def _metrics(
    metrics: Mapping[str, Numbers],
    definitions: Mapping[str, Mapping[str, str]],
    undefined: Mapping[str, int],
) -> list[list[str]]:
    rows = []
    for name, about in definitions.items():
        if name in metrics:
            m = metrics[name]
            interval = f"[{_number(m['ci_low'])}, {_number(m['ci_high'])}]"
            counted = f"{m['lesions']:.0f} nodes" if "lesions" in m else f"{m['n']:.0f}"
            none = str(undefined.get(name, 0) or "")
            numbers = [_number(m["value"]), interval, counted, none]
            title = about["title"]
            title = f"Sensitivity, {title}" if name.startswith("sensitivity_") else title
            rows.append([title, *numbers, about["definition"], about["empty"]])
    return rows


def _known(found: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Return the measures that a patient has a value of."""
    return {name: found[name] for name in MEASURES if name in found and found[name]["n"]}


def _agreement(found: Mapping[str, Numbers]) -> list[list[str]]:
    rows = []
    for name, one in _known(found).items():
        limits = f"{_number(one['low'])} to {_number(one['high'])}"
        numbers = [f"{one['n']:.0f}", _number(one["bias"]), limits, _number(one["ccc"])]
        rows.append([MEASURES[name], *numbers, _number(one["median_relative_error"])])
    return rows


def _bland_altman(
    found: Mapping[str, Numbers], cases: Mapping[str, Numbers]
) -> list[tuple[str, Markup]]:
    charts = []
    for name in DRAWN:
        if name not in _known(found):
            continue
        one, title = found[name], MEASURES[name]
        pairs = [(m[name], m[f"reference_{name}"]) for m in cases.values() if name in m]
        points = [((p + r) / 2, p - r) for p, r in pairs]
        levels = [("bias", one["bias"]), ("+1.96 SD", one["high"]), ("-1.96 SD", one["low"])]
        chart = scatter(points, levels, f"mean of both, {title}", "predicted minus reference")
        charts.append((f"Predicted minus reference, {title}", chart))
    return charts


def _sites(cohort: Mapping[str, Any], value: str) -> list[list[str]]:
    rows = []
    for site, classes in (cohort.get("sites") or {}).items():
        own = classes.get(value, {})
        numbers = [_number(own[n]["value"]) if n in own else "" for n in SHOWN_SITES]
        rows.append([site, f"{own.get('dice', {}).get('n', 0):.0f}", *numbers])
    return rows


def _worst(cases: Mapping[str, Numbers], most: int = 10) -> list[list[str]]:
    ranked = sorted(cases.items(), key=lambda item: item[1]["dice"])[:most]
    names = ("dice", "lesion_sensitivity", "false_positives", "volume_ml", "reference_volume_ml")
    return [[case, *(_number(numbers[name]) for name in names)] for case, numbers in ranked]


def _scores(found: Mapping[str, Any] | None) -> dict[str, object] | None:
    if not found:
        return None
    curve = found["froc"]
    points = list(zip(curve["false_positives"], curve["sensitivity"], strict=True))
    known = [(x, y) for x, y in points if y is not None]
    names = ("false positives per patient", "sensitivity")
    drawn = lines([("all lesions", [(0.0, 0.0), *known])], *names) if known else Markup()
    return {
        "froc": drawn,
        "detection": [_detection(name, one) for name, one in found["intervals"].items()],
        **_reliability(found),
    }


def _pair(row: Mapping[str, Any]) -> list[str]:
    """Return a row of the page: a node without a partner is missed or made up."""
    alone = "missed" if row["prediction"] == "" else "made up"
    numbers = [_number(row[key]) for key in ("iou", "dice", "distance_mm")]
    both = [str(row[key]) or "–" for key in ("case", "class", "prediction", "reference")]
    return [*both, *numbers, row["counted_by"].replace(" ", ", ") or alone]


def _detection(name: str, one: Mapping[str, float]) -> list[str]:
    at = name.removeprefix("sensitivity_at_")
    title = f"sensitivity at {at} per patient" if at != name else name.replace("_", " ")
    ends = f"[{_number(one['ci_low'])}, {_number(one['ci_high'])}]"
    return [title, _number(one["value"]), ends, f"{one['n']:.0f}"]


def _reliability(found: Mapping[str, Any]) -> dict[str, object]:
    kinds = {"nodes": "nodes", "voxels_near_foreground": "voxels near the foreground"}
    rows, curves = [], [("as it should be", [(0.0, 0.0), (1.0, 1.0)])]
    for key, title in kinds.items():
        if key not in found:
            continue
        one = found[key]
        rows.append([title, str(sum(one["count"])), _number(one["ece"]), _number(one["brier"])])
        pairs = zip(one["confidence"], one["frequency"], strict=True)
        curves.append((title, [(x, y) for x, y in pairs if x is not None]))
    curves = [curve for curve in curves if curve[1]]
    return {"calibration": rows, "reliability": lines(curves, "probability", "frequency")}


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
