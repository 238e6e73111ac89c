"""What the arms reach: the main table, conditions, disturbances, node sizes, cost, pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup

from hilum.core.counts import many
from hilum.core.undefined import number
from hilum.evaluation.charts.scatter import FEW, scatter
from hilum.evaluation.html.parts import (
    beside,
    drawing,
    figure,
    interval,
    joined,
    paragraph,
    picture,
    table,
)
from hilum.evaluation.metrics.table import METRICS, SIZE_BANDS

from . import figures
from .compare import SHOWN, ArmSummary, higher_is_better, others
from .interval_chart import Strip, bars
from .sections import cell, label

if TYPE_CHECKING:
    from .results import Findings
    from .robustness_matrix import Disturbed

MOST_ROWS = 24
"""Rows of a chart; the tables have all."""
MOST_COLUMNS = 6
"""Arms beside each other in the robustness matrix."""


def results(found: Findings) -> Markup:
    """Show every arm with its intervals, the best first."""
    arms = found.ranked()
    if not arms:
        return Markup()
    metric = found.study.metric
    columns = [name for name in SHOWN if any(name in arm.metrics for arm in arms)]
    if metric not in columns:
        columns.insert(0, metric)
    rows = [
        [arm.arm, *(cell(arm, name) for name in columns), str(arm.seeds), str(arm.draws)]
        for arm in arms
    ]
    caption = f"Test patients, {found.full}: value [95 % interval for other {others(arms)}]"
    head = ["arm", *map(label, columns), "seeds", "draws"]
    strips = [_strip(arm, metric) for arm in arms[:MOST_ROWS]]
    of_all = f", the first {MOST_ROWS} of {len(arms)} arms" if len(arms) > MOST_ROWS else ""
    top = arms[0].metrics[metric]["value"]
    tied = [n for n, arm in enumerate(arms) if arm.metrics[metric]["value"] == top]
    return figure(
        bars(strips, label(metric)), f"{label(metric)} of each arm with its 95 % interval{of_all}"
    ) + table(head, rows, caption, best=tied)


def _strip(arm: ArmSummary, metric: str) -> Strip:
    value = arm.metrics[metric]
    return Strip(arm.arm, value["value"], value["ci_low"], value["ci_high"])


def conditions(found: Findings) -> Markup:
    """Show each arm when it gets only some of the modalities."""
    seen = list(dict.fromkeys(row.condition for row in found.rows))
    if len(seen) < 2:
        return Markup()
    metric = found.study.metric
    by = {(arm.arm, arm.condition): arm for arm in found.arms}
    rows = [
        [
            arm.arm,
            *(cell(by[arm.arm, c], metric) if (arm.arm, c) in by else "–" for c in seen),
        ]
        for arm in found.ranked()
    ]
    return paragraph("The same networks, given only some of the modalities at test time.") + table(
        ["arm", *seen], rows, f"{label(metric)} by the modalities given"
    )


def disturbances(found: Findings) -> Markup:
    """Show the robustness matrix: what each arm loses when a modality moves or is mis-scaled."""
    by = {(one.arm, one.row): one for one in found.disturbed}
    if not by:
        return Markup()
    order = [arm.arm for arm in found.ranked()]
    arms = sorted({one.arm for one in found.disturbed}, key=lambda a: _place(order, a))
    names = list(dict.fromkeys(one.row for one in found.disturbed))
    shown = arms[:MOST_COLUMNS]
    rows = [[name, *(_loss(by.get((arm, name))) for arm in shown)] for name in names]
    caption = "Dice, and its change against the first row with a 95 % interval"
    text = "Each segmenter on the test scans as they are, and disturbed; paired by patient and run."
    if len(arms) > len(shown):
        text += f" The best {len(shown)} of {len(arms)} arms; all are in tables/robustness.csv."
    return paragraph(text) + table(["disturbance", *shown], rows, caption)


def _place(order: list[str], arm: str) -> int:
    return order.index(arm) if arm in order else len(order)


def _loss(one: Disturbed | None) -> str:
    if one is None:
        return "–"
    if one.change is None:
        return number(one.dice)
    change = interval(one.change.mean, one.change.low, one.change.high, sign=True)
    return beside(number(one.dice), "(" + change + ")")


def sizes(found: Findings) -> Markup:
    """Show sensitivity by short axis."""
    arms = found.ranked()
    names = [
        n for n in METRICS if n.startswith("sensitivity_") and any(n in a.metrics for a in arms)
    ]
    if not names:
        return Markup()
    rows = [[arm.arm, *(cell(arm, name, 2) for name in names)] for arm in arms]
    counts = nodes_by_size(found)
    head = [f"{label(n)} ({_of(*counts[n.removeprefix('sensitivity_')])})" for n in names]
    text = (
        "Sensitivity per node by short axis, all test patients. Where all nodes or none were "
        "found, the interval is the exact one with a patient as one observation"
    )
    return table(["arm", *head], rows, text)


def nodes_by_size(found: Findings) -> dict[str, tuple[int, int]]:
    """Return how many nodes, of how many test patients, each band of the short axis holds."""
    cases = {row.case: row for row in found.rows if row.condition == found.full}
    counts = {}
    for band in SIZE_BANDS:
        own = {c: int(row.metrics.get(f"lesions_{band}", 0)) for c, row in cases.items()}
        patients = {cases[case].patient for case, nodes in own.items() if nodes}
        counts[band] = sum(own.values()), len(patients)
    return counts


def _of(nodes: int, patients: int) -> str:
    return f"{many(nodes, 'node')} of {many(patients, 'patient')}"


ENDS = ("value", "ci_low", "ci_high")


def cost(found: Findings) -> Markup:
    """Show what each arm costs next to what it gains.

    Operations are counted and seconds are those that processors and GPUs worked: time by the clock
    is that of the machine and of whatever else ran on it.
    """
    arms, metric = found.ranked(), found.study.metric
    if not arms:
        return Markup()
    numbers = {arm.arm: figures.cost_of(found, arm.arm) for arm in arms}
    base = figures.bases(found)
    rows, spots = [], []
    for place, arm in enumerate(arms, 1):
        value = arm.metrics[metric]
        own = numbers[arm.arm]
        other = base.get(arm.arm)
        gain = value["value"] - other.metrics[metric]["value"] if other else math.nan
        rows.append([f"{place}. {arm.arm}", *own.texts(), cell(arm, metric), number(gain, "+.3f")])
        spots.append((arm.arm, own.training / 1e15, *(value[k] for k in ENDS)))
    head = ["arm", *figures.COSTS, label(metric)]
    reference = ", ".join(f"{k} = {v}" for k, v in found.study.reference.items()) or "none named"
    against = f"Gain over the arm at the reference ({reference}) and else the same"
    x_label = "counted operations of fine-tuning (10^15), mean over runs"
    better = higher_is_better(metric)
    chart = scatter(spots, x_label, label(metric), higher_is_better=better)
    caption = f"{label(metric)} against operations of training; numbers as in the table"
    if len(spots) > FEW:
        caption += ", for arms that no other beats in both"
    return drawing(chart, caption) + table([*head, "gain"], rows, against)


def pictures(found: Findings) -> Markup:
    """Show predictions of the best arm, the worst case included, and reconstructions."""
    shown = []
    for arm in found.ranked()[:1]:
        shown += figures.overlays(found, arm.arm)
    shown += figures.reconstructions(found)
    return joined(picture(file, text) for file, text in shown)


def training(found: Findings) -> Markup:
    """Show the curves that the cells logged, and say who chose the weights."""
    shown = joined(drawing(svg, text) for svg, text in figures.curves(found))
    lines = figures.chosen_by(found)
    return shown + (paragraph(" ".join(lines)) if lines else "")
