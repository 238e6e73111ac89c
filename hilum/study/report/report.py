"""The report of a study: one HTML file that needs nothing else, and its tables as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from hilum.core.files import write_text
from hilum.evaluation.html.parts import anchor
from hilum.evaluation.html.rendering import render

from ..run.ledger import Entry
from ..settings import StudySettings
from . import gallery, result_sections, sections, statistics_sections
from .citations import bibtex
from .measurements import write_csv
from .results import Findings, find
from .tables import write_tables

SECTIONS: dict[str, Callable[[Findings], Markup]] = {
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
    sections_shown = [(anchor(title), title, body) for title, body in bodies.items() if body]
    write_text(
        found.page,
        render(
            "study/report/report.html.j2",
            title=study.name,
            question=study.question,
            sections=sections_shown,
        ),
    )
    return found
