"""How a report begins and ends: answer, cohort, limits, definitions, and how to repeat it."""

from __future__ import annotations

import math
import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hilum.core.counts import many
from hilum.core.settings import validate
from hilum.core.side_files import read_side
from hilum.core.undefined import with_interval
from hilum.datasets.splits import Split, check_leakage
from hilum.datasets.store.case_store import CaseStore
from hilum.evaluation.html.parts import bullets, code, interval, joined, note, paragraph, table
from hilum.evaluation.metrics.table import METRICS
from hilum.finetune.settings import FinetuneSettings

from ..run.ledger import equal, summary
from .citations import cited
from .compare import ArmSummary, Paired
from .sentences import finding
from .tracking import sync_command

if TYPE_CHECKING:
    from .results import Findings

FEW_PATIENTS = 12
"""Below, intervals of simulated cohorts fall short of their promise (docs/study-statistics.md)."""

MOST_LINES = 12
"""Comparisons that the answer spells out; of more, those that show something, and a count."""


def answer(found: Findings) -> Markup:
    """Say in a few sentences what the numbers support, and how sure they are."""
    arms = found.ranked()
    if not arms:
        return note(f"No cell is done yet: {summary(found.entries)}.")
    metric, best = found.study.metric, arms[0]
    if math.isnan(best.metrics[metric]["value"]):
        return note(f"No arm has a value of {label(metric)}: {summary(found.entries)}.")
    runs = many(best.seeds, "seed") + (f" in {best.draws} draws" if best.draws > 1 else "")
    tied = [
        arm.arm for arm in arms if arm.metrics[metric]["value"] == best.metrics[metric]["value"]
    ]
    lines = [
        f"Best {label(metric)} on the test patients: {' and '.join(tied)}, {_plain(best, metric)} "
        f"({many(best.patients, 'patient')}, {runs})."
    ]
    few = len(found.pairs) <= MOST_LINES
    clear = [p for p in found.pairs if p.verdict(metric) in ("better", "worse")]
    shown = found.pairs if few else clear[:MOST_LINES]
    lines += [finding(pair, metric, label(metric)) for pair in shown]
    unfinished = [entry for entry in found.entries if entry.state != "done"]
    warning = note(f"Not every cell is done: {summary(found.entries)}.") if unfinished else Markup()
    more = "" if few else paragraph(_counted(found.pairs, metric))
    return warning + bullets(lines) + more


def _counted(pairs: Sequence[Paired], metric: str) -> str:
    verdicts = Counter(pair.verdict(metric) for pair in pairs)
    parts = "; ".join(f"{verdict}: {count}" for verdict, count in verdicts.most_common())
    return f"Verdicts of all {sum(verdicts.values())} comparisons: {parts}."


def cohort(found: Findings) -> Markup:
    """Describe the data and show that no test patient was seen in training."""
    # A level may have a store of its own, as that of another site.
    places = {str(e.cell.settings["store"]): e.cell.settings["store"] for e in found.entries}
    stores = {name: CaseStore(place) for name, place in places.items()}
    rows: dict[tuple[str, ...], int] = {}
    checked, left_out = 0, dict[str, None]()
    for own in stores.values():
        left_out |= dict.fromkeys(own.about.get("left_out", {}))
    for entry in found.entries:
        file = entry.cell.folder / "split.json"
        if entry.cell.stage != "finetune" or not file.exists():
            continue
        split, store = Split.from_json(read_side(file)), stores[str(entry.cell.settings["store"])]
        check_leakage(store, split)
        checked += 1
        left_out |= dict.fromkeys(split.left_out)
        parts = (split.pool, split.train, split.validation, split.test)
        row = [str(len({store.rows[c]["patient"] for c in part})) for part in parts]
        row += [
            str(sum(store.rows[c]["nodes"] for c in part)) for part in (split.train, split.test)
        ]
        rows[tuple(row)] = rows.get(tuple(row), 0) + 1
    head = ["unlabelled pool", "training", "validation", "test"]
    head += ["nodes in training", "nodes in test", "cells"]
    leaks = "no test patient is in a training pool, a training set or a validation set"
    return (
        joined(
            paragraph(
                f"{many(len(store), 'case')} with {', '.join(store.modalities)} at "
                f"{' x '.join(f'{s:g}' for s in store.spacing)} mm; store {store.fingerprint}."
            )
            for store in stores.values()
        )
        + (paragraph(f"Left out on purpose: {', '.join(left_out)}.") if left_out else "")
        + table(head, [[*row, str(count)] for row, count in rows.items()], "Patients of each part")
        + paragraph(
            f"Leakage check on each of the {checked} cells: {leaks}."
            if checked
            else "No cell has a split yet, so nothing could be checked for leakage."
        )
    )


def limits(found: Findings) -> Markup:
    """Say what these numbers cannot show."""
    seeds = {arm.seeds for arm in found.arms}
    draws = {arm.draws for arm in found.arms}
    patients = max((arm.patients for arm in found.arms), default=0)
    pretrained = [e for e in found.entries if e.cell.stage == "pretrain"]
    tested = many(patients, "test patient")
    lines = [f"{tested}: differences smaller than the intervals stay hidden."]
    if patients < FEW_PATIENTS:
        lines.append(
            f"Fewer than {FEW_PATIENTS} test patients: intervals of an arm may hold the truth less "
            "often than 95 times of 100, most of all those of DSCagg and of Dice with zeros."
        )
    if max(draws, default=1) < 2:
        lines += _about_one_draw(found)
    elif draws and max(draws) < 4:
        lines.append(
            f"{max(draws)} draws of labelled patients: if draws differ a lot, about one in ten "
            "intervals misses the truth instead of one in twenty."
        )
    lines += _about_seeds(max(seeds, default=0), len({arm.arm for arm in found.arms}))
    lines += _about_steps(found)
    lines += equal(found.entries)
    failed = [e for e in found.entries if e.state == "failed"]
    if failed:
        names = ", ".join(e.cell.name for e in failed[:3]) + (", ..." if len(failed) > 3 else "")
        lines.append(f"{many(len(failed), 'failed cell')} in no number: {names}.")
    lines += _about_pretraining([entry.cell.settings for entry in pretrained])
    if any(not pair.comparison.supported for pair in found.pairs):
        lines.append(
            "Comparisons marked 'not supported' have too few seeds or patients for any verdict, "
            "whatever their p value."
        )
    lines.append(
        "'No difference shown' is not 'equal': only the equivalence test, within the margin of "
        f"{found.study.margin:g}, speaks of equality."
    )
    if any(row.patient.startswith("phantom") for row in found.rows):
        lines.append("Phantoms are not patients: they test the method, not its clinical value.")
    return bullets(lines)


def _about_one_draw(found: Findings) -> list[str]:
    """Say what one set of labelled patients leaves open, and whether it was drawn at all."""
    splits = [e.cell.settings.get("split", {}) for e in found.entries if e.cell.stage == "finetune"]
    splits = [own for own in splits if own.get("labels") != 0]
    if not splits:
        return []
    open_ = "how others would rank the arms is in no interval."
    if all(own.get("choose") is not None for own in splits):
        return [f"Labelled training patients were chosen by a list, not drawn: {open_}"]
    if all(own.get("labels") is None for own in splits):
        return [f"Every labelled patient that was left trained: {open_}"]
    return [
        "Labelled training patients were drawn once: how another draw would rank the arms is "
        "in no interval. Add the factor split.draw to see it."
    ]


def _about_pretraining(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Say what no second run of a pretraining shows; nothing where each was run with two seeds."""
    seeds: dict[str, set[str]] = {}
    for own in runs:
        rest = {key: value for key, value in own.items() if key != "seed"}
        seeds.setdefault(repr(sorted(rest.items())), set()).add(repr(own.get("seed")))
    once = sum(len(own) == 1 for own in seeds.values())
    if not once:
        return []
    which = "The pretraining" if len(seeds) == 1 else f"{once} of {len(seeds)} pretrainings"
    were = "were" if once > 1 else "was"
    return [f"{which} {were} run with one seed: how another run of it would do is not seen."]


def _about_steps(found: Findings) -> list[str]:
    """Say whether all networks were trained equally long."""
    trained = [
        e.cell.settings
        for e in found.entries
        if e.cell.stage == "finetune"
        and e.state == "done"
        and "baseline" not in e.cell.settings
        and e.cell.settings.get("split", {}).get("labels") != 0
    ]
    steps = {validate(FinetuneSettings, own).trainer.steps for own in trained}
    if not steps:
        return []
    if len(steps) == 1:
        return ["Every arm had the same number of steps; longer training may change the order."]
    return [
        f"Arms were trained for {min(steps)} to {max(steps)} steps: what differs between them may "
        "be the length of training. Pretraining comes on top."
    ]


def _about_seeds(seeds: int, arms: int) -> list[str]:
    """Say what one or two seeds of so many arms leave open."""
    if seeds == 1:
        return ["One seed: no difference between arms is supported."]
    if seeds == 2 and arms < 3:
        return [
            "Two seeds and two arms: no other arm shows how much runs differ, so that up to one in "
            "ten intervals misses the truth instead of one in twenty, and intervals are very wide. "
            "Three seeds keep the promise."
        ]
    if seeds == 2:
        return [
            "Two seeds: how much runs differ is known from all arms together; an arm whose runs "
            "differ far more than the others' has intervals that are too narrow."
        ]
    return []


def definitions(found: Findings) -> Markup:
    """Define every metric that the report shows, with its rule for empty masks."""
    used = [name for name in METRICS if any(name in arm.metrics for arm in found.arms)]
    rows = [[label(n), METRICS[n].definition, METRICS[n].empty] for n in used]
    methods = (
        "Intervals of arms: two-way random effects of patients and runs, for fractions on the "
        "scale of logits; pooled metrics through jackknife pseudovalues, and as the mean over runs "
        "of what each run reaches. Differences: patient by patient and run by run, judged by "
        "two-way random effects, so that they hold for other patients and other runs; the variance "
        "between runs is moderated by that of all arms (empirical Bayes); an interval ends where "
        "no larger difference is possible; p values adjusted by Holm's method "
        "over all comparisons of a factor. Beside them: sign-flip permutation and Wilcoxon "
        "signed-rank test over patients (for these very runs), the hierarchical bootstrap, a "
        "cluster bootstrap for pooled metrics, and two one-sided tests for equivalence."
    )
    shown = table(["metric", "definition", "empty masks"], rows, "Metrics", text=(1, 2))
    return (paragraph(methods) + shown) if rows else Markup()


def repeat(found: Findings) -> Markup:
    """Give the command, the environment and what to cite."""
    out = found.page.parent
    packages = ("torch", "pytorch-lightning", "monai", "timm", "transformers", "numpy", "wandb")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    upload = sync_command(out)
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return (
        code(f"hilum study run {out / 'study.yaml'} --out {out}")
        + paragraph(f"Environment: hilum {version('hilum')}, {machine}, {versions}.")
        + (paragraph("Logged to W&B offline; to upload:") + code(upload) if upload else "")
        + paragraph("Please cite (as BibTeX in tables/citations.bib):")
        + bullets(ref.text() for ref in cited(used(found)).values())
    )


def used(found: Findings) -> set[str]:
    """Return the names of the encoders, strategies, tasks and losses that the cells used."""
    return {
        str(spec.get("name"))
        for entry in found.entries
        for key in ("encoder", "fusion", "task", "loss")
        for spec in [entry.cell.settings.get(key, {})]
        if isinstance(spec, dict)
    }


def cell(arm: ArmSummary, metric: str, digits: int = 3) -> str:
    """Return a metric of an arm with its interval, as HTML."""
    if metric not in arm.metrics:
        return "–"
    value = arm.metrics[metric]
    places = 1 if metric.endswith(("_mm", "_ml")) else digits
    return interval(value["value"], value["ci_low"], value["ci_high"], places)


def label(metric: str) -> str:
    """Return the title of a metric."""
    return getattr(METRICS.get(metric), "title", "") or metric.replace("_", " ")


def _plain(arm: ArmSummary, metric: str) -> str:
    value = arm.metrics[metric]
    return with_interval(value["value"], value["ci_low"], value["ci_high"])
