"""What the differences are worth: comparisons, effects of factors, ranks, labels needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from markupsafe import Markup

from hilum.core.undefined import number, undefined_last
from hilum.evaluation.charts import svg as charts
from hilum.evaluation.html.parts import (
    coloured,
    drawing,
    figure,
    folded,
    heading,
    interval,
    joined,
    note,
    p_value,
    paragraph,
    table,
)

from . import label_efficiency as labels
from .compare import others
from .interval_chart import Strip, forest
from .sections import label

if TYPE_CHECKING:
    from hilum.evaluation.statistics.effects import Effect

    from .compare import Paired
    from .results import Findings

MOST_ROWS = 24
MOST_INTERACTIONS = 12


def comparisons(found: Findings) -> Markup:
    """Show paired differences with the reference."""
    if not found.pairs:
        return Markup()
    metric = found.study.metric
    reference = ", ".join(f"{k} = {v}" for k, v in found.study.reference.items())
    strips = [
        Strip(pair.question, c.difference, c.ci_low, c.ci_high, firm=c.supported)
        for pair in found.pairs[:MOST_ROWS]
        for c in [pair.comparison]
    ]
    margin = found.study.margin
    head = ["comparison", "verdict", "difference", "p (Holm)", f"p of equality within {margin:g}"]
    return (
        paragraph(
            f"Differences of {label(metric)}, patient by patient and run by run; one factor "
            f"differs in each row. Reference: {reference}. An interval is one for other "
            f"{others(found.arms)}. Open dots are not supported."
        )
        + figure(
            forest(strips, f"difference of {label(metric)}"),
            "Paired differences with 95 % intervals; the line at zero is no difference"
            + _some(len(found.pairs), "comparisons"),
        )
        + table(head, [_verdict_row(p, metric) for p in found.pairs], "Verdicts", text=(1,))
        + folded("Other tests, the bootstrap, and pooled metrics", _others(found.pairs))
    )


def _verdict_row(pair: Paired, metric: str) -> list[str]:
    c = pair.comparison
    verdict = pair.verdict(metric)
    kind = {"better": "yes", "worse": "no"}.get(verdict, "")
    shown = coloured(verdict, kind) if kind else verdict
    return [
        pair.question,
        shown,
        interval(c.difference, c.ci_low, c.ci_high, sign=True),
        p_value(pair.p_adjusted),
        p_value(pair.equal.p_value) if pair.equal else "–",
    ]


def _others(pairs: Sequence[Paired]) -> str:
    head = ["comparison", "hierarchical bootstrap", "sign flip, p (Holm)", "Wilcoxon, p (Holm)"]
    head += ["DSCagg, cluster bootstrap", "F1agg, cluster bootstrap", "patients", "draws", "seeds"]
    rows = []
    for pair in pairs:
        c = pair.comparison
        pooled = [
            interval(*pair.pooled[name], sign=True) if name in pair.pooled else "–"
            for name in ("dscagg", "f1agg")
        ]
        rows.append(
            [
                pair.question,
                interval(c.difference, *c.bootstrap, sign=True),
                p_value(pair.p_patients_adjusted),
                p_value(pair.p_wilcoxon_adjusted),
                *pooled,
                *map(str, (c.n_patients, c.n_draws, c.n_seeds)),
            ]
        )
    text = (
        "The sign-flip and signed-rank tests average the runs of a patient: they hold for these "
        "very runs. Bootstraps draw patients, draws of labelled patients and seeds anew; with few "
        "of them they are too narrow."
    )
    return paragraph(text) + table(head, rows, "The same comparisons, judged otherwise")


def effects(found: Findings) -> Markup:
    """Show what each factor does on average, and which factors depend on each other."""
    own = found.factors
    if len(own.reference) < 2 or not own.main:
        return Markup()
    metric = found.study.metric
    strips = [
        Strip(e.name, e.estimate.mean, e.estimate.low, e.estimate.high, firm=not own.note)
        for e in own.main[:MOST_ROWS]
    ]
    reference = ", ".join(f"{name} = {level}" for name, level in own.reference.items())
    ranked = sorted(own.interactions, key=lambda e: undefined_last(e.estimate.p_value))
    shown = ranked[:MOST_INTERACTIONS]
    parts = [
        note(f"Not supported: {own.note}.") if own.note else "",
        paragraph(
            f"What each level does against the reference ({reference}), averaged over every "
            "combination of the other factors that has both."
        ),
        figure(
            forest(strips, f"effect on {label(metric)}"),
            f"Main effects with 95 % intervals for other {others(found.arms)}"
            + _some(len(own.main), "effects"),
        ),
        table(_EFFECT, [_effect(e) for e in own.main], "Main effects"),
    ]
    if shown:
        parts += [
            heading("Interactions"),
            paragraph(
                "By how much a level does more, or less, when another factor is changed, too. Zero "
                "means that the two gains add up."
            ),
            table(
                _EFFECT,
                [_effect(e) for e in shown],
                "Interactions, the clearest first" + _some(len(ranked), "", MOST_INTERACTIONS),
            ),
        ]
    return joined(parts)


_EFFECT = ["level", "effect", "p (Holm)", "combinations"]


def _effect(e: Effect) -> list[str]:
    value = interval(e.estimate.mean, e.estimate.low, e.estimate.high, sign=True)
    return [e.name, value, p_value(e.p_adjusted), str(e.cells)]


def ranks(found: Findings) -> Markup:
    """Show the order of the arms and how far it would hold for other patients and runs."""
    own = found.ranking
    if own is None:
        return Markup()
    rows = [
        [
            name,
            own.place(name),
            f"{round(own.spans[name][0], 1):g} to {round(own.spans[name][1], 1):g}",
            f"{100 * own.shares[name][0]:.0f} %",
        ]
        for name in own.order
    ]
    text = (
        f"Arms ranked by {label(found.study.metric)}, and ranked again in 1000 bootstrap samples "
        f"of {others(found.arms)}. Kendall's tau between a sample's ranks and these is "
        f"{number(own.tau, '.2f')} on average (1: the order never changes)."
    )
    if max((arm.seeds for arm in found.arms), default=0) < 2:
        text += " With one seed the order is not supported."
    head = ["arm", "rank", "95 % of samples", "first in"]
    return paragraph(text) + table(
        head, rows, "Ranks and their stability", best=range(len(own.first))
    )


def label_efficiency(found: Findings) -> Markup:
    """Draw what each arm reaches with how many labels, and say what it needs to equal another."""
    drawn = labels.curves(found)
    if not drawn:
        return Markup()
    metric = label(found.study.metric)
    factor, numbers = labels.labels_of(found.study)
    most = max(numbers.values())
    svg = charts.intervals(drawn[: len(charts.COLOURS)], "labelled patients", metric)
    parts = [
        *map(paragraph, labels.patients(found.entries, factor, numbers)),
        drawing(
            svg,
            f"{metric} by labelled patients, 95 % interval"
            + _some(len(drawn), "lines", len(charts.COLOURS)),
        ),
    ]
    if found.needed:
        rows = [
            [
                one.line,
                f"{one.other}, {one.labels} labelled",
                number(one.found.target),
                labels.text(one.found, most),
                f"{number(100 * one.found.reached, '.0f')} %"
                if one.seeds > 1
                else "not supported: one seed",
            ]
            for one in found.needed
        ]
        head = ["arm", "to reach", metric, "labels needed [95 %]", "samples that reach it"]
        parts += [
            heading("Labels needed"),
            paragraph(
                "Labelled patients that an arm needs to reach what another one reaches, on a curve "
                f"made to rise with the logarithm of their number; '> {most}' is out of reach."
            ),
            table(head, rows, f"Factor {factor}; samples are of {others(found.arms)}", text=(1,)),
        ]
    return joined(parts)


def _some(count: int, what: str, most: int = MOST_ROWS) -> str:
    return f" (the first {most} of {count} {what})".replace(" )", ")") if count > most else ""
