"""The tables of a study for a paper: the same rows as CSV and as LaTeX (booktabs)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hilum.core.files import atomic_path, write_text
from hilum.core.undefined import number, with_interval
from hilum.evaluation.html.parts import p_value
from hilum.evaluation.metrics.table import METRICS

from . import figures
from . import label_efficiency as labels
from .compare import SHOWN, others

if TYPE_CHECKING:
    from hilum.evaluation.statistics.effects import Effect

    from .results import Findings

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    ">": r"$>$",
    "<": r"$<$",
    "≥": r"$\geq$",
    "–": "--",
}
POOLED = ("dscagg", "f1agg")


class Table(NamedTuple):
    """A table: every number for a computer, and what is shown for a reader.

    Attributes:
        rows: Of the CSV file; keys are the columns.
        head: Columns of the LaTeX table.
        shown: Its rows.
        caption: Of the LaTeX table, as plain text.
    """

    rows: Sequence[dict[str, Any]]
    head: Sequence[str]
    shown: Sequence[Sequence[str]]
    caption: str


def write_tables(found: Findings, folder: Path) -> list[Path]:
    """Write each table that has rows as `.csv` with every number and `.tex` with the shown ones.

    Returns:
        The files.
    """
    files = []
    for name, make in TABLES.items():
        table = make(found)
        if table.rows:
            files += [_csv(folder / f"{name}.csv", table.rows), _tex(folder / f"{name}.tex", table)]
    return files


def arms(found: Findings) -> Table:
    """Return every metric of every arm under every condition."""
    names = [name for name in METRICS if any(name in arm.metrics for arm in found.arms)]
    rows = []
    for arm in found.arms:
        row: dict[str, Any] = {"arm": arm.arm, "condition": arm.condition, "draws": arm.draws}
        row |= {"seeds": arm.seeds, "patients": arm.patients}
        for name in names:
            row |= _ends(name, arm.metrics.get(name, {}))
        rows.append(row)
    columns = [name for name in SHOWN if name in names]
    shown = [
        [arm.arm, arm.condition, *(_metric(arm.metrics.get(name)) for name in columns)]
        for arm in found.arms
    ]
    caption = f"{found.study.name}: test patients, 95 % interval for other {others(found.arms)}."
    titles = [METRICS[name].title or name for name in columns]
    return Table(rows, ["arm", "condition", *titles], shown, caption)


def comparisons(found: Findings) -> Table:
    """Return every paired comparison with all its tests."""
    rows, shown = [], []
    for pair in found.pairs:
        c, equal = pair.comparison, pair.equal
        verdict = pair.verdict(found.study.metric)
        row: dict[str, Any] = {"comparison": pair.question, "factor": pair.factor}
        row |= {"metric": found.study.metric, "mean_a": c.mean_a, "mean_b": c.mean_b}
        row |= {"difference": c.difference, "ci_low": c.ci_low, "ci_high": c.ci_high}
        row |= {"p": c.p_value, "p_holm": pair.p_adjusted}
        row |= {"p_sign_flip": c.p_patients, "p_sign_flip_holm": pair.p_patients_adjusted}
        row |= {"p_wilcoxon": c.p_wilcoxon, "p_wilcoxon_holm": pair.p_wilcoxon_adjusted}
        row |= {"bootstrap_low": c.bootstrap[0], "bootstrap_high": c.bootstrap[1]}
        row |= {"margin": found.study.margin, "p_equal": equal.p_value if equal else ""}
        for name in POOLED:
            value, low, high = pair.pooled.get(name, ("", "", ""))
            row |= {f"{name}_difference": value, f"{name}_low": low, f"{name}_high": high}
        row |= {"patients": c.n_patients, "draws": c.n_draws, "seeds": c.n_seeds}
        rows.append(row | {"supported": c.supported, "note": c.note, "verdict": verdict})
        shown.append(
            [
                pair.question,
                _interval(c.difference, c.ci_low, c.ci_high, "+"),
                p_value(pair.p_adjusted),
                p_value(equal.p_value) if equal else "–",
                verdict,
            ]
        )
    head = ["comparison", "difference", "p (Holm)", "p (equality)", "verdict"]
    caption = (
        f"{found.study.name}: paired differences of {found.study.metric}, 95 % interval for other "
        f"{others(found.arms)}; equality within {found.study.margin:g}."
    )
    return Table(rows, head, shown, caption)


def effects(found: Findings) -> Table:
    """Return the main effects of the factors."""
    return _effects(found, found.factors.main, "main effects")


def interactions(found: Findings) -> Table:
    """Return what pairs of levels do beyond what each does alone."""
    return _effects(found, found.factors.interactions, "interactions")


def _effects(found: Findings, own: Iterable[Effect], what: str) -> Table:
    rows, shown = [], []
    for effect in own:
        e = effect.estimate
        row: dict[str, Any] = {"level": effect.name, "effect": e.mean}
        row |= {"ci_low": e.low, "ci_high": e.high, "p": e.p_value, "p_holm": effect.p_adjusted}
        row |= {"combinations": effect.cells, "supported": not found.factors.note}
        rows.append(row | {"note": found.factors.note})
        value = _interval(e.mean, e.low, e.high, "+")
        shown.append([effect.name, value, p_value(effect.p_adjusted), str(effect.cells)])
    reference = ", ".join(f"{k} = {v}" for k, v in found.factors.reference.items())
    caption = f"{found.study.name}: {what} on {found.study.metric}, against {reference}."
    if found.factors.note:
        caption += f" Not supported: {found.factors.note}."
    return Table(rows, ["level", "effect", "p (Holm)", "combinations"], shown, caption)


def ranking(found: Findings) -> Table:
    """Return the ranks of the arms and their stability."""
    own = found.ranking
    if own is None:
        return Table([], [], [], "")
    rows, shown = [], []
    for name in own.order:
        low, high = own.spans[name]
        first = own.shares[name][0]
        row: dict[str, Any] = {"arm": name, "rank": own.ranks[name]}
        rows.append(row | {"rank_low": low, "rank_high": high, "first": first, "tau": own.tau})
        shown.append(
            [
                name,
                own.place(name),
                f"{round(low, 1):g} to {round(high, 1):g}",
                f"{100 * first:.0f} %",
            ]
        )
    caption = (
        f"{found.study.name}: ranks by {found.study.metric}, and in 1000 bootstrap samples of "
        f"{others(found.arms)}; Kendall's tau {number(own.tau, '.2f')}."
    )
    return Table(rows, ["arm", "rank", "95 % of samples", "first in"], shown, caption)


def labels_needed(found: Findings) -> Table:
    """Return how many labelled patients one arm needs to reach another."""
    most = max(labels.labels_of(found.study)[1].values(), default=0)
    rows, shown = [], []
    for one in found.needed:
        n = one.found
        row: dict[str, Any] = {"arm": one.line, "to_reach": one.other, "its_labels": one.labels}
        row |= {"target": n.target, "labels": n.needed, "ci_low": n.low, "ci_high": n.high}
        rows.append(row | {"reached": n.reached, "seeds": one.seeds, "supported": one.seeds > 1})
        other = f"{one.other}, {one.labels} labelled"
        shown.append([one.line, other, number(n.target), labels.text(n, most)])
    caption = (
        f"{found.study.name}: labelled patients needed to reach another arm, with 95 % interval."
    )
    return Table(rows, ["arm", "to reach", found.study.metric, "labels needed"], shown, caption)


def robustness(found: Findings) -> Table:
    """Return the robustness matrix."""
    rows, shown = [], []
    for one in found.disturbed:
        row: dict[str, Any] = {"arm": one.arm, "disturbance": one.row, "dice": one.dice}
        change = one.change
        row |= {"change": change.mean if change else 0.0, "ci_low": change.low if change else ""}
        row |= {"ci_high": change.high if change else "", "patients": one.patients}
        rows.append(row)
        text = _interval(change.mean, change.low, change.high, "+") if change else "–"
        shown.append([one.arm, one.row, number(one.dice), text])
    caption = f"{found.study.name}: Dice on disturbed scans and its change, with 95 % interval."
    return Table(rows, ["arm", "disturbance", "Dice", "change"], shown, caption)


def cost(found: Findings) -> Table:
    """Return what each arm costs."""
    rows, shown = [], []
    for arm in found.ranked():
        own = figures.cost_of(found, arm.arm)
        value = arm.metrics[found.study.metric]
        row: dict[str, Any] = {"arm": arm.arm, **own._asdict()}
        rows.append(row | _ends(found.study.metric, value))
        shown.append([arm.arm, *own.texts(), _metric(value)])
    head = ["arm", *figures.COSTS, found.study.metric]
    return Table(rows, head, shown, f"{found.study.name}: cost of each arm and what it reaches.")


TABLES: dict[str, Callable[[Findings], Table]] = {
    "arms": arms,
    "comparisons": comparisons,
    "effects": effects,
    "interactions": interactions,
    "ranking": ranking,
    "labels_needed": labels_needed,
    "robustness": robustness,
    "cost": cost,
}


def _csv(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(file) as part, part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            {key: "" if value != value else value for key, value in row.items()} for row in rows
        )
    return file


def _tex(file: Path, table: Table) -> Path:
    lines = [
        r"\begin{table}",
        rf"\caption{{{escape(table.caption)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.head) - 1)}}}",
        r"\toprule",
        " & ".join(escape(cell) for cell in table.head) + r" \\",
        r"\midrule",
        *(" & ".join(escape(cell) for cell in row) + r" \\" for row in table.shown),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    write_text(file, "\n".join(lines) + "\n")
    return file


def escape(text: str) -> str:
    """Return text as LaTeX prints it."""
    return "".join(SPECIAL.get(sign, sign) for sign in text)


def _ends(name: str, value: dict[str, float]) -> dict[str, Any]:
    keys = {"": "value", "_ci_low": "ci_low", "_ci_high": "ci_high"}
    return {f"{name}{end}": value.get(key, "") for end, key in keys.items()}


def _metric(value: dict[str, float] | None) -> str:
    return _interval(value["value"], value["ci_low"], value["ci_high"]) if value else "–"


def _interval(value: float, low: float, high: float, sign: str = "") -> str:
    return with_interval(value, low, high, f"{sign}.3f")
