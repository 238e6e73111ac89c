"""The report of an evaluation as one page: every metric with its definition and empty rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hilum.core.files import write_text
from hilum.core.undefined import undefined_last

from .charts.svg import lines, scatter
from .html.parts import beside, joined, picture
from .html.rendering import render

Numbers = Mapping[str, float]
SHOWN_SITES = ("dice", "dscagg", "f1agg", "lesion_sensitivity", "hd95_mm", "volume_error_ml")
MEASURES = {
    "volume_ml": "volume = MTV, ml",
    "nodes": "number of nodes",
    "max_short_axis_mm": "largest short axis, mm",
    "tlg": "TLG, SUV ml",
    "suv_max": "SUVmax",
    "suv_peak": "SUVpeak",
}
DRAWN = ("volume_ml", "nodes", "max_short_axis_mm", "tlg")
"""Measures with a Bland-Altman plot."""


def write_evaluation_page(
    path: str | Path,
    cohort: Mapping[str, Any],
    cases: Mapping[int | str, Mapping[str, Numbers]],
    pairs: Sequence[Mapping[str, Any]] = (),
    pictures: Mapping[str, Path] | None = None,
) -> None:
    """Write a page that needs no other file and no network.

    Args:
        path: HTML file.
        cohort: Content of `cohort.json`.
        cases: Metrics of each case, by class or region.
        pairs: Rows of `pairs.csv`.
        pictures: Of cases that miss nodes or make some up, by what they show.
    """
    by_name = {str(target): own for target, own in cases.items()}
    status = cohort["node_status"]
    classes = [
        {
            "title": f"Class {value}" if value.isdigit() else f"Region {value}",
            "status": _status(status["classes"][value]),
            "stations": _stations((cohort.get("stations") or {}).get(value, {})),
            "metrics": _metrics(
                metrics, cohort["definitions"], cohort.get("undefined", {}).get(value, {})
            ),
            "agreement": _agreement(cohort["agreement"].get(value, {})),
            "charts": _bland_altman(cohort["agreement"].get(value, {}), by_name[value]),
            "sites": _sites(cohort, value),
            "worst": _worst(by_name[value]),
        }
        for value, metrics in cohort["classes"].items()
    ]
    text = render(
        "evaluation/evaluation.html.j2",
        title="Evaluation",
        cases=cohort["cases"],
        patients=cohort["patients"],
        both_empty="1" if cohort.get("both_empty", "1") == "1" else "undefined",
        classes=classes,
        definitions=_definitions(cohort),
        positive=status["positive"],
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
            interval = _ends(m)
            counted = f"{m['lesions']:.0f} nodes" if "lesions" in m else f"{m['n']:.0f}"
            none = str(undefined.get(name, 0) or "")
            rows.append([_title(name, about), _number(m["value"]), interval, counted, none])
    return rows


def _title(name: str, about: Mapping[str, str]) -> str:
    return f"Sensitivity, {about['title']}" if name.startswith("sensitivity_") else about["title"]


def _definitions(cohort: Mapping[str, Any]) -> list[list[str]]:
    """Return what each metric of the page means, and what it is where a mask is empty."""
    used = {name for metrics in cohort["classes"].values() for name in metrics}
    return [
        [_title(name, about), about["definition"], about["empty"]]
        for name, about in cohort["definitions"].items()
        if name in used
    ]


def _known(found: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Return the measures that a patient has a value of."""
    return {name: found[name] for name in MEASURES if name in found and found[name]["n"]}


def _agreement(found: Mapping[str, Numbers]) -> list[list[str]]:
    rows = []
    for name, one in _known(found).items():
        limits = f"{_number(one['low'])} to {_number(one['high'])}"
        numbers = [f"{one['n']:.0f}", _number(one["bias"]), limits]
        numbers += [_number(one["ccc"]), _number(one["icc"])]
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


def _status(found: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    """Return the table of four fields, and what follows from it."""
    counts = {key: f"{found[key]:.0f}" for key in ("tp", "fp", "fn", "tn", "unknown")}
    fields = [
        ["predicted positive", counts["tp"], counts["fp"]],
        ["predicted negative", counts["fn"], counts["tn"]],
    ]
    titles = {
        "accuracy": "accuracy",
        "sensitivity": "sensitivity",
        "specificity": "specificity",
        "ppv": "positive predictive value",
        "npv": "negative predictive value",
    }
    rows = [
        [title, _number(one["value"]), _ends(one), f"{one['n']:.0f}"]
        for key, title in titles.items()
        for one in [found[key]]
    ]
    known = f"{found['accuracy']['n']:.0f}"
    rows.append(["Cohen's kappa", _number(found["kappa"]), "–", known])
    if found["unknown"]:
        rows.append(["patients of unknown status", counts["unknown"], "–", "–"])
    return {"fields": fields, "rows": rows}


def _stations(found: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for station, one in found.items():
        counts = [f"{one[key]:.0f}" for key in ("nodes", "patients", "found", "made_up")]
        metrics = [one.get(name) for name in ("lesion_sensitivity", "f1agg", "dscagg")]
        values = [beside(_number(m["value"]), _ends(m)) if m else "–" for m in metrics]
        rows.append([station, *counts, *values])
    return rows


def _ends(one: Numbers) -> str:
    """Return an interval in brackets; a dash where there is none."""
    low, high = one["ci_low"], one["ci_high"]
    if low is None or not math.isfinite(low):
        return "–"
    return f"[{_number(low)}, {_number(high)}]"


def _worst(cases: Mapping[str, Numbers], most: int = 10) -> list[list[str]]:
    ranked = sorted(cases.items(), key=lambda item: undefined_last(item[1]["dice"]))[:most]
    names = ("dice", "lesion_sensitivity", "false_positives", "volume_ml", "reference_volume_ml")
    return [
        [case, *(_number(numbers[n], 0 if n == "false_positives" else 3) for n in names)]
        for case, numbers in ranked
    ]


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
    """Return a row of the page: a node without a partner is missed or a false positive."""
    alone = "missed" if row["prediction"] == "" else "false positive"
    numbers = [_number(row[key]) for key in ("iou", "dice", "distance_mm")]
    both = [str(row[key]) or "–" for key in ("case", "class", "prediction", "reference")]
    return [*both, *numbers, row["counted_by"].replace(" ", ", ") or alone]


def _detection(name: str, one: Mapping[str, float]) -> list[str]:
    at = name.removeprefix("sensitivity_at_")
    title = f"sensitivity at {at} per patient" if at != name else name.replace("_", " ")
    return [title, _number(one["value"]), _ends(one), f"{one['n']:.0f}"]


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


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 100 else f"{value:.0f}"
