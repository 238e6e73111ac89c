"""The report of `hilum compare`: one page with every metric and the patients that differ most."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from hilum.core.files import write_text
from hilum.evaluation.html.parts import coloured, interval, p_value
from hilum.evaluation.html.rendering import render
from hilum.evaluation.metrics.table import metric_of
from hilum.evaluation.statistics.bounds import bounds
from hilum.segmenter.assessment.views import Target

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
            "title": f"Class {label}" if isinstance(label, int) else f"Region {label}",
            "summary": _summary([row for row in found.rows if row.label == label], found.names),
            "forest": _forest([row for row in found.rows if row.label == label]),
            "rows": [_row(row, found.names) for row in found.rows if row.label == label],
            "cases": _extremes(found, label),
        }
        for label in found.cases
    ]
    used = list(dict.fromkeys(row.metric for row in found.rows))
    about = [metric_of(metric) for metric in used]
    definitions = [[one.title, one.definition, one.empty] for one in about]
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
        skipped=[metric_of(metric).title for metric in found.skipped],
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
        _verdict(row, names),
        *sides,
        interval(c.difference, c.ci_low, c.ci_high, digits, sign=True),
        p_value(row.p_adjusted),
        p_value(row.equal.p_value) if row.equal else "–",
        p_value(c.p_wilcoxon),
        str(c.n_patients),
    ]


def _verdict(row: Compared, names: tuple[str, str]) -> str:
    """Return the verdict, in the colour of good where the first tool is better."""
    text = row.verdict(names)
    winner = next((name for name in names if text == f"{name} better"), None)
    return text if winner is None else coloured(text, "yes" if winner == names[0] else "no")


def _summary(rows: Sequence[Compared], names: tuple[str, str]) -> list[str]:
    """Return each verdict with the metrics that have it, what was decided first."""
    groups: dict[str, list[str]] = {f"{name} better": [] for name in names}
    for row in rows:
        groups.setdefault(row.verdict(names).split(" (p <")[0], []).append(row.title)
    return [f"{verdict}: {', '.join(titles)}" for verdict, titles in groups.items() if titles]


def _extremes(found: MaskComparison, label: Target) -> list[list[str]]:
    """Return the cases whose Dice differs most, in favour of either tool."""
    a, b = found.cases[label]
    both = [(a[case]["dice"], b[case]["dice"], case) for case in a if case in b]
    both = [row for row in both if np.isfinite(row[0] - row[1])]
    both.sort(key=lambda row: row[1] - row[0])
    shown = both if len(both) <= 2 * EXTREMES else [*both[:EXTREMES], *both[-EXTREMES:]]
    return [[case, f"{x:.3f}", f"{y:.3f}", f"{x - y:+.3f}"] for x, y, case in shown]
