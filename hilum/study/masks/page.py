"""The report of `hilum compare`: one page with every metric and the patients that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from hilum.core.files import write_text
from hilum.evaluation.html.parts import interval, p_value
from hilum.evaluation.html.rendering import render
from hilum.evaluation.metrics.table import METRICS
from hilum.evaluation.statistics.bounds import bounds

from ..report.interval_chart import Strip, forest

if TYPE_CHECKING:
    from .compare import MaskComparison
    from .metrics import Compared

EXTREMES = 5
"""Cases that are listed at each end."""


def write_page(found: MaskComparison, file: Path, margin: float) -> None:
    """Write the page.

    Args:
        found: What was compared.
        file: Where.
        margin: Of the equivalence test.
    """
    patients = len(set(found.patients.values()))
    classes = [
        {
            "value": label,
            "forest": _forest([row for row in found.rows if row.label == label]),
            "rows": [_row(row, found.names) for row in found.rows if row.label == label],
            "cases": _extremes(found, label),
        }
        for label in found.cases
    ]
    used = list(dict.fromkeys(row.metric for row in found.rows))
    definitions = [[METRICS[m].title, METRICS[m].definition, METRICS[m].empty] for m in used]
    page = render(
        "study/masks/compare.html.j2",
        title=f"{found.names[0]} vs. {found.names[1]}",
        names=found.names,
        patients=patients,
        cases=len(found.patients),
        margin=margin,
        caveat=found.caveat,
        few=patients < 12,
        classes=classes,
        definitions=definitions,
    )
    write_text(file, page)


def _forest(rows: Sequence[Compared]) -> Markup:
    """Draw the differences of metrics between 0 and 1, which share an axis."""
    shown = [row for row in rows if bounds(row.metric) == (0, 1)]
    strips = [
        Strip(row.title, c.difference, c.ci_low, c.ci_high, firm=row.p_adjusted < 0.05)
        for row in shown
        for c in [row.comparison]
    ]
    return forest(strips, "difference") if strips else Markup()


def _row(row: Compared, names: tuple[str, str]) -> list[str]:
    c, digits = row.comparison, 3 if bounds(row.metric) == (0, 1) else 2
    sides = [interval(s["value"], s["ci_low"], s["ci_high"], digits) for s in (row.a, row.b)]
    return [
        row.title,
        *sides,
        interval(c.difference, c.ci_low, c.ci_high, digits, sign=True),
        p_value(row.p_adjusted),
        p_value(row.equal.p_value) if row.equal else "–",
        p_value(c.p_wilcoxon),
        str(c.n_patients),
        row.verdict(names),
    ]


def _extremes(found: MaskComparison, label: int) -> list[list[str]]:
    """Return the cases whose Dice differs most, in favour of either tool."""
    a, b = found.cases[label]
    both = [(a[case]["dice"], b[case]["dice"], case) for case in a if case in b]
    both = [row for row in both if np.isfinite(row[0] - row[1])]
    both.sort(key=lambda row: row[1] - row[0])
    shown = both if len(both) <= 2 * EXTREMES else [*both[:EXTREMES], *both[-EXTREMES:]]
    return [[case, f"{x:.3f}", f"{y:.3f}", f"{x - y:+.3f}"] for x, y, case in shown]
