"""The report of an evaluation as one page: every metric with its definition and empty rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from hilum.core.files import write_text

from .charts.svg import lines, scatter

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;
color-scheme:light dark}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
td,th{padding:.25rem .6rem;text-align:right;border-bottom:1px solid #8884;vertical-align:top}
td:not(.text){white-space:nowrap}td:first-child,th:first-child,.text{text-align:left}.wide{overflow-x:auto}
svg{max-width:100%;height:auto}.note{opacity:.75;font-size:.9rem}
"""
Numbers = Mapping[str, float]
SHOWN_SITES = ("dice", "dscagg", "f1agg", "lesion_sensitivity", "hd95_mm", "volume_error_ml")
MEASURES = {
    "volume_ml": "volume = MTV, ml",
    "tlg": "TLG, SUV ml",
    "suv_max": "SUVmax",
    "suv_peak": "SUVpeak",
}


def write_evaluation_page(
    path: str | Path, cohort: Mapping[str, Any], cases: Mapping[int, Mapping[str, Numbers]]
) -> None:
    """Write a page that needs no other file and no network.

    Args:
        path: HTML file.
        cohort: Content of `cohort.json`.
        cases: Metrics of each case, by class.
    """
    parts = [
        "<h1>Evaluation</h1>",
        f"<p>{cohort['cases']} cases. Intervals: 95 %, bootstrap over patients. n: patients with a "
        "value. Tables: cases.csv, nodes.csv, cohort.json.</p>",
    ]
    for value, metrics in cohort["classes"].items():
        if len(cohort["classes"]) > 1:
            parts.append(f"<h1>Class {value}</h1>")
        parts.append(_metrics(metrics, cohort["definitions"]))
        parts.append(_agreement(cohort["agreement"].get(value, {}), cases[int(value)]))
        parts.append(_sites(cohort, value))
        parts.append(_worst(cases[int(value)]))
    parts.append(_scores(cohort.get("scores")))
    write_text(
        path,
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f'{"".join(parts)}<p class="note">For research only.</p></html>\n',
    )


def _metrics(metrics: Mapping[str, Numbers], definitions: Mapping[str, Mapping[str, str]]) -> str:
    rows = []
    for name, about in definitions.items():
        if name in metrics:
            m = metrics[name]
            interval = f"[{_number(m['ci_low'])}, {_number(m['ci_high'])}]"
            numbers = [_number(m["value"]), interval, f"{m['n']:.0f}"]
            title = about["title"]
            title = f"Sensitivity, {title}" if name.startswith("sensitivity_") else title
            rows.append([title, *numbers, about["definition"], about["empty"]])
    head = ["metric", "value", "95 %", "n", "definition", "empty masks"]
    return "<h2>Metrics</h2>" + _table(head, rows, text=(4, 5))


def _agreement(found: Mapping[str, Numbers], cases: Mapping[str, Numbers]) -> str:
    rows, charts = [], []
    for name, title in MEASURES.items():
        if name not in found or not found[name]["n"]:
            continue
        one = found[name]
        limits = f"{_number(one['low'])} to {_number(one['high'])}"
        numbers = [f"{one['n']:.0f}", _number(one["bias"]), limits, _number(one["ccc"])]
        rows.append([title, *numbers, _number(one["median_relative_error"])])
        if name in ("volume_ml", "tlg"):
            charts.append(_bland_altman(name, title, one, cases))
    if not rows:
        return ""
    head = ["measure", "cases", "bias", "limits of agreement", "Lin's concordance"]
    note = (
        '<p class="note">Bias: mean of predicted minus reference (Bland and Altman). Limits: bias '
        "&plusmn; 1.96 standard deviations. SUVmax and SUVpeak: of the hottest node, where both "
        "masks have one.</p>"
    )
    table = _table([*head, "median relative error"], rows)
    return f"<h2>Agreement</h2>{note}{table}{''.join(charts)}"


def _bland_altman(name: str, title: str, one: Numbers, cases: Mapping[str, Numbers]) -> str:
    pairs = [(m[name], m[f"reference_{name}"]) for m in cases.values() if name in m]
    points = [((p + r) / 2, p - r) for p, r in pairs]
    levels = [("bias", one["bias"]), ("+1.96 SD", one["high"]), ("-1.96 SD", one["low"])]
    chart = scatter(points, levels, f"mean of both, {title}", "predicted minus reference")
    return f"<figure>{chart}<figcaption>Predicted minus reference, {title}</figcaption></figure>"


def _sites(cohort: Mapping[str, Any], value: str) -> str:
    sites = cohort.get("sites")
    if not sites:
        return ""
    titles = [cohort["definitions"][name]["title"] for name in SHOWN_SITES]
    rows = []
    for site, classes in sites.items():
        own = classes.get(value, {})
        numbers = [_number(own[n]["value"]) if n in own else "" for n in SHOWN_SITES]
        rows.append([site, f"{own.get('dice', {}).get('n', 0):.0f}", *numbers])
    return "<h2>Sites</h2>" + _table(["site", "n", *titles], rows)


def _worst(cases: Mapping[str, Numbers], most: int = 10) -> str:
    ranked = sorted(cases.items(), key=lambda item: item[1]["dice"])[:most]
    names = ("dice", "lesion_sensitivity", "false_positives", "volume_ml", "reference_volume_ml")
    rows = [[case, *(_number(numbers[name]) for name in names)] for case, numbers in ranked]
    head = ["case", "Dice", "lesion sensitivity", "false positives", "ml", "reference ml"]
    return "<h2>Lowest Dice</h2>" + _table(head, rows)


def _scores(found: Mapping[str, Any] | None) -> str:
    if not found:
        return (
            '<h2>Scores</h2><p class="note">No FROC and no calibration: they need '
            "&lt;case&gt;_probability.nii.gz or &lt;case&gt;_nodes.json beside every mask, as "
            "hilum predict writes them.</p>"
        )
    curve = found["froc"]
    points = list(zip(curve["false_positives"], curve["sensitivity"], strict=True))
    known = [(x, y) for x, y in points if y is not None]
    rows = [[f"{at}", _number(share)] for at, share in curve["sensitivity_at"].items()]
    table = _table(["false positives per patient", "sensitivity"], rows)
    parts = [
        "<h2>FROC</h2>",
        '<p class="note">A candidate matches the lesion that it shares most voxels with, and is '
        "false if it shares none; further candidates of a lesion are not false. Without a lesion "
        "in the cohort the sensitivity is undefined.</p>",
        lines([("all lesions", [(0.0, 0.0), *known])], "false positives per patient", "sensitivity")
        if known
        else "",
        table,
        "<h2>Calibration</h2>",
        '<p class="note">ECE: mean of |probability - frequency| over ten bins, weighted by their '
        "counts; Brier: mean squared error. Undefined without values. Voxels: within 10 mm of "
        "either mask. Nodes: highest probability in each.</p>",
        _reliability(found),
    ]
    return "".join(parts)


def _reliability(found: Mapping[str, Any]) -> str:
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
    head = ["of", "values", "ECE", "Brier"]
    return _table(head, rows) + lines(curves, "probability", "frequency")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], text: Sequence[int] = ()) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        made = (
            f"<{tag}{' class=text' if i in text else ''}>{escape(cell)}</{tag}>"
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(made)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="wide"><table>{line(head, "th")}{body}</table></div>'


def _number(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
