"""The report of a study: one HTML file that needs nothing else, and its tables as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from hilum.core.files import write_text

from ..run.ledger import Entry
from ..settings import StudySettings
from . import gallery, result_sections, sections, statistics_sections
from .citations import bibtex
from .measurements import write_csv
from .page import navigation, page, paragraph, section
from .results import Findings, find
from .tables import write_tables

SECTIONS: dict[str, Callable[[Findings], str]] = {
    "Answer": sections.answer,
    "Cohort and splits": sections.cohort,
    "Results": result_sections.results,
    "Paired comparisons": statistics_sections.comparisons,
    "Effects of the factors": statistics_sections.effects,
    "Ranking": statistics_sections.ranks,
    "Label efficiency": statistics_sections.label_efficiency,
    "When a modality is missing": result_sections.conditions,
    "Robustness": result_sections.disturbances,
    "Node size": result_sections.sizes,
    "Cost and gain": result_sections.cost,
    "Pictures": result_sections.pictures,
    "Failures": gallery.section,
    "Training": result_sections.training,
    "What cannot be concluded": sections.limits,
    "Definitions": sections.definitions,
    "How to repeat it": sections.repeat,
}


def write_report(study: StudySettings, out: Path, entries: Sequence[Entry]) -> Findings:
    """Write `report.html`, `results.csv` and `tables/` from the cells that are done."""
    found = find(study, out / "report.html", entries)
    if found.rows:
        write_csv(out / "results.csv", found.rows)
        write_tables(found, out / "tables")
        write_text(out / "tables" / "citations.bib", bibtex(sections.used(found)))
    bodies = {title: write(found) for title, write in SECTIONS.items()}
    shown = {title: body for title, body in bodies.items() if body}
    content = [
        f"<header><h1>{escape(study.name)}</h1>",
        paragraph(study.question, "lead") if study.question else "",
        navigation(list(shown)),
        '</header><main id="content">',
        *(section(title, body) for title, body in shown.items()),
        "</main>",
    ]
    write_text(found.page, page(study.name, content))
    return found
