"""The report of a study: one HTML file that needs nothing else, and its tables as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.files import write_text
from . import gallery, labels, sections
from .citations import bibtex
from .compare import ArmSummary, Paired, compare, summarise
from .ledger import Entry
from .page import navigation, page, paragraph, section
from .results import Row, collect, write_csv
from .settings import StudySettings
from .tables import write_tables


@dataclass(frozen=True)
class Findings:
    """What a study found; `page` is where it is written up.

    Attributes:
        page: The report.
        study: Settings of the study.
        entries: Every cell with its state.
        rows: One row per cell, test case and condition.
        arms: Metrics of each arm under each condition.
        pairs: Comparisons with the reference, under the full condition.
    """

    page: Path
    study: StudySettings
    entries: Sequence[Entry]
    rows: Sequence[Row]
    arms: Sequence[ArmSummary] = field(default_factory=list)
    pairs: Sequence[Paired] = field(default_factory=list)

    @property
    def full(self) -> str:
        """The condition with every modality."""
        seen = list(dict.fromkeys(row.condition for row in self.rows))
        return max(seen, key=lambda name: name.count("+"), default="")

    def of(self, condition: str) -> list[ArmSummary]:
        """Return the arms under one condition."""
        return [arm for arm in self.arms if arm.condition == condition]


SECTIONS: dict[str, Callable[[Findings], str]] = {
    "Answer": sections.answer,
    "Cohort and splits": sections.cohort,
    "Results": sections.results,
    "Paired comparisons": sections.comparisons,
    "Labels needed": labels.section,
    "When a modality is missing": sections.conditions,
    "Node size": sections.sizes,
    "Pictures": sections.pictures,
    "Failures": gallery.section,
    "Training": sections.training,
    "Cost": sections.cost,
    "What cannot be concluded": sections.limits,
    "Definitions": sections.definitions,
    "How to repeat it": sections.repeat,
}


def write_report(study: StudySettings, out: Path, entries: Sequence[Entry]) -> Findings:
    """Write `report.html`, `results.csv` and `tables/` from the cells that are done."""
    rows = collect(entries)
    seen = list(dict.fromkeys(row.condition for row in rows))
    found = Findings(out / "report.html", study, entries, rows, summarise(rows, seen))
    if rows:
        write_csv(out / "results.csv", rows)
        found = Findings(
            found.page, study, entries, rows, found.arms, compare(study, rows, found.full)
        )
        write_tables(found, out / "tables")
        write_text(out / "tables" / "citations.bib", bibtex(sections.used(found)))
    bodies = {title: write(found) for title, write in SECTIONS.items()}
    shown = {title: body for title, body in bodies.items() if body}
    content = [
        f"<header><h1>{study.name}</h1>",
        paragraph(study.question, "lead") if study.question else "",
        navigation(list(shown)),
        "</header><main>",
        *(section(title, body) for title, body in shown.items()),
        "</main>",
    ]
    write_text(found.page, page(study.name, content))
    return found
