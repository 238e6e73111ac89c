"""The sections of a report, each a function of what was found; an empty string leaves one out."""

from __future__ import annotations

import platform
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING

from ..core.files import read_json
from ..datasets.splits import Split, check_leakage
from ..datasets.store import CaseStore
from ..evaluation.metrics_table import METRICS
from . import figures
from .citations import cited
from .compare import SHOWN, ArmSummary
from .ledger import summary
from .page import bullets, drawing, interval, note, paragraph, picture, table

if TYPE_CHECKING:
    from .report import Findings


def answer(found: Findings) -> str:
    """Say in a few sentences what the numbers support, and how sure they are."""
    arms = _ranked(found)
    if not arms:
        return note(f"No cell is done yet: {summary(found.entries)}.")
    metric = found.study.metric
    best = arms[0]
    lines = [
        f"Highest mean {_label(metric)} on the test patients: {best.arm}, "
        f"{_plain(best, metric)} ({best.patients} patients, {best.seeds} seeds)."
    ]
    for pair in found.pairs:
        c = pair.comparison
        if not c.supported:
            verdict = f"not supported ({c.note})"
        elif c.ci_low > 0 or c.ci_high < 0:
            verdict = "the interval excludes zero"
        else:
            verdict = "no difference shown: the interval includes zero"
        lines.append(
            f"{pair.question}: {c.difference:+.3f} [{c.ci_low:+.3f}, {c.ci_high:+.3f}], {verdict}."
        )
    unfinished = [entry for entry in found.entries if entry.state != "done"]
    warning = note(f"Not every cell is done: {summary(found.entries)}.") if unfinished else ""
    return warning + bullets(lines)


def cohort(found: Findings) -> str:
    """Describe the data and show that no test patient was seen in training."""
    store = CaseStore(found.study.store)
    rows, leaks = [], "no test patient is in a training pool, a training set or a validation set"
    for entry in found.entries:
        file = entry.cell.folder / "split.json"
        if entry.cell.stage != "finetune" or not file.exists():
            continue
        split = Split.from_json(read_json(file))
        check_leakage(store, split)
        row = [
            str(len({store.rows[c]["patient"] for c in part})) for part in split.as_json().values()
        ]
        row.append(str(sum(store.rows[c]["nodes"] for c in split.train)))
        row.append(str(sum(store.rows[c]["nodes"] for c in split.test)))
        if row not in rows:
            rows.append(row)
    head = [
        "unlabelled pool",
        "training",
        "validation",
        "test",
        "nodes in training",
        "nodes in test",
    ]
    spacing = " x ".join(f"{s:g}" for s in store.spacing)
    return (
        paragraph(
            f"{len(store)} cases with {', '.join(store.modalities)} at {spacing} mm; "
            f"store {store.fingerprint}. Patients of each part:"
        )
        + table(head, rows)
        + paragraph(f"Leakage check on every cell: {leaks}.")
    )


def results(found: Findings) -> str:
    """Show every arm with patient-level intervals, the best first."""
    arms = _ranked(found)
    if not arms:
        return ""
    columns = [name for name in SHOWN if any(name in arm.metrics for arm in arms)]
    rows = [[escape(arm.arm), *(_cell(arm, name) for name in columns)] for arm in arms]
    metric = found.study.metric
    return drawing(
        figures.bars(found, metric),
        f"Mean {_label(metric)} per arm with 95 % interval over patients",
    ) + table(
        ["arm", *map(_label, columns)],
        rows,
        f"Test patients, {found.full}: value [95 % bootstrap interval over patients]",
        best=0,
    )


def comparisons(found: Findings) -> str:
    """Show paired differences with the reference."""
    if not found.pairs:
        return ""
    rows = [
        [
            escape(pair.question),
            interval(c.difference, c.ci_low, c.ci_high, sign=True),
            f"{pair.p_adjusted:.3f}",
            str(c.n_patients),
            str(c.n_seeds),
            '<span class="yes">yes</span>' if c.supported else f"no: {escape(c.note)}",
        ]
        for pair in found.pairs
        for c in [pair.comparison]
    ]
    reference = ", ".join(f"{k} = {v}" for k, v in found.study.reference.items())
    return (
        paragraph(
            f"Differences of {_label(found.study.metric)}, patient by patient, seeds averaged "
            f"within a patient. Reference: {reference}. One factor differs in each row."
        )
        + drawing(
            figures.forest(found), "Paired differences with 95 % intervals; zero is no difference"
        )
        + table(["comparison", "difference", "p (Holm)", "patients", "seeds", "enough seeds"], rows)
    )


def conditions(found: Findings) -> str:
    """Show each arm when it gets only some of the modalities."""
    seen = list(dict.fromkeys(row.condition for row in found.rows))
    if len(seen) < 2:
        return ""
    metric = found.study.metric
    rows = []
    for arm in _ranked(found):
        others = {other.condition: other for other in found.arms if other.arm == arm.arm}
        rows.append(
            [escape(arm.arm), *(_cell(others[c], metric) if c in others else "–" for c in seen)]
        )
    return paragraph("The same networks, given only some of the modalities at test time.") + table(
        ["arm", *seen], rows, f"{_label(metric)} by the modalities given"
    )


def sizes(found: Findings) -> str:
    """Show sensitivity by short axis."""
    arms = _ranked(found)
    names = [
        n for n in METRICS if n.startswith("sensitivity_") and any(n in a.metrics for a in arms)
    ]
    if not names:
        return ""
    rows = [[escape(arm.arm), *(_cell(arm, name, 2) for name in names)] for arm in arms]
    return table(["arm", *map(_label, names)], rows, "Sensitivity per node by short axis")


def pictures(found: Findings) -> str:
    """Show predictions of the best arm, the worst case included, and reconstructions."""
    shown = []
    for arm in _ranked(found)[:1]:
        shown += figures.overlays(found, arm.arm)
    shown += figures.reconstructions(found)
    return '<div class="stack">' + "".join(picture(file, text) for file, text in shown) + "</div>"


def training(found: Findings) -> str:
    """Show the curves that the cells logged."""
    drawings = figures.curves(found)
    return '<div class="grid">' + "".join(drawing(svg, text) for svg, text in drawings) + "</div>"


def cost(found: Findings) -> str:
    """Show what each arm costs beside what it gains."""
    rows, metric = [], found.study.metric
    for arm in _ranked(found):
        numbers = figures.cost_of(found, arm.arm)
        rows.append([escape(arm.arm), *numbers, _cell(arm, metric)])
    head = ["arm", "parameters (M)", "GFLOPs per patch", "training time (s)", _label(metric)]
    return table(head, rows) if rows else ""


def limits(found: Findings) -> str:
    """Say what these numbers cannot show."""
    seeds = {arm.seeds for arm in found.arms}
    patients = max((arm.patients for arm in found.arms), default=0)
    pretrained = [e for e in found.entries if e.cell.stage == "pretrain"]
    lines = [
        f"{patients} test patients: differences smaller than the intervals stay hidden.",
        "The intervals cover the choice of test patients. Labelled training patients were drawn "
        "once, so another draw may rank the arms otherwise."
        if "split.draw" not in found.study.factors
        else "Labelled patients were drawn several times; draws are averaged within a patient.",
        "Every arm had the same number of steps; longer training may change the order.",
    ]
    if seeds and max(seeds) < 3:
        lines.append("Fewer than three seeds: treat each difference as a hint.")
    if len(pretrained) == 1:
        lines.append("One pretraining run feeds all pretrained arms; its own variance is not seen.")
    if "phantom" in found.study.name or "demo" in found.study.name:
        lines.append("Phantoms are not patients: they test the method, not its clinical value.")
    return bullets(lines)


def definitions(found: Findings) -> str:
    """Define every metric that the report shows, with its rule for empty masks."""
    used = [name for name in METRICS if any(name in arm.metrics for arm in found.arms)]
    rows = [[_label(n), escape(METRICS[n].definition), escape(METRICS[n].empty)] for n in used]
    wrapped = [
        [a, f'<span class="wrap">{b}</span>', f'<span class="wrap">{c}</span>'] for a, b, c in rows
    ]
    return table(["metric", "definition", "empty masks"], wrapped) if rows else ""


def repeat(found: Findings) -> str:
    """Give the command, the environment and what to cite."""
    out = found.page.parent
    packages = ("torch", "pytorch-lightning", "monai", "timm", "transformers", "numpy", "wandb")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"<pre>hilum study run {escape(str(out / 'study.yaml'))} --out {escape(str(out))}</pre>"
        + paragraph(f"hilum {version('hilum')}, Python {platform.python_version()}, {versions}.")
        + paragraph(
            "Every run logged to W&B offline. To upload: wandb sync --sync-all, in a run folder."
        )
        + paragraph("Please cite (as BibTeX in tables/citations.bib):")
        + bullets(ref.text() for ref in cited(used(found)).values())
    )


def used(found: Findings) -> set[str]:
    """Return the names of the encoders, strategies and tasks that the cells used."""
    return {
        str(spec.get("name"))
        for entry in found.entries
        for key in ("encoder", "fusion", "task")
        for spec in [entry.cell.settings.get(key, {})]
        if isinstance(spec, dict)
    }


def _ranked(found: Findings) -> list[ArmSummary]:
    metric = found.study.metric
    arms = [arm for arm in found.of(found.full) if metric in arm.metrics]
    return sorted(arms, key=lambda arm: -arm.metrics[metric]["value"])


def _cell(arm: ArmSummary, metric: str, digits: int = 3) -> str:
    if metric not in arm.metrics:
        return "–"
    value = arm.metrics[metric]
    places = 1 if metric.endswith("_mm") or metric.endswith("_ml") else digits
    return interval(value["value"], value["ci_low"], value["ci_high"], places)


def _plain(arm: ArmSummary, metric: str) -> str:
    value = arm.metrics[metric]
    return f"{value['value']:.3f} [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"


def _label(metric: str) -> str:
    return getattr(METRICS.get(metric), "title", "") or metric.replace("_", " ")
