"""Check a cohort: every problem of every case, before it costs a day."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO

from hilum.core.files import write_json
from hilum.core.notes import read_notes
from hilum.core.outputs import output
from hilum.core.spread import spread

from ..io.mask_values import pasted
from ..manifest import notes_file, scan_manifest
from .case import CaseFindings, check_case
from .cohort import cohort_problems
from .report import ORDER, CheckReport, Problem
from .thumbnails import KeptPictures, write_thumbnails

__all__ = ["CheckReport", "Problem", "check"]

Progress = Callable[[int, int, str], None]


def check(
    manifest: str | Path,
    out: str | Path | None = None,
    strict: bool = False,
    *,
    classes: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> CheckReport:
    """Return every problem of a cohort; one bad case or row does not stop the others.

    Reads each file once: about as long as copying the cohort.

    Args:
        manifest: The cohort.
        out: Folder for `check.json` and `thumbnails.png`; nothing is written without it.
        strict: Count warnings as blocking.
        classes: Number of classes with background; inferred from the labels if not given.
        workers: Processes.
        progress: Gets how many cases are done, how many there are, and the case.

    Raises:
        DataError: If the manifest cannot be read at all.
    """
    if out is not None:
        with (
            output(out, "check", earlier="check.json") as folder,
            tempfile.TemporaryFile(dir=folder) as pictures,
        ):
            return _check(manifest, folder, strict, classes, workers, progress, pictures)
    return _check(manifest, None, strict, classes, workers, progress)


def _check(
    manifest: str | Path,
    out: Path | None,
    strict: bool,
    classes: int | None,
    workers: int,
    progress: Progress | None,
    file: IO[bytes] | None = None,
) -> CheckReport:
    cases, errors = scan_manifest(manifest)
    modalities = tuple(dict.fromkeys(name for case in cases for name in case.volumes))
    show = modalities if out is not None else ()
    found: dict[str, CaseFindings] = {}
    pictures = KeptPictures([case.id for case in cases], file)
    for done, findings in enumerate(spread(partial(check_case, show=show), cases, workers), 1):
        pictures.keep(findings.case, findings.picture)
        found[findings.case] = replace(findings, picture=None)
        if progress:
            progress(done, len(cases), findings.case)
    ordered = [found[case.id] for case in cases]
    problems = [Problem.of(error, error.case or "") for error in errors]
    problems += [problem for findings in ordered for problem in findings.problems]
    problems += cohort_problems(cases, ordered, classes)
    ids = {case.id for case in cases} | {""}
    noted = [note for note in read_notes(notes_file(manifest)) if note.case in ids]
    # What blocks is told once, whatever import said of it.
    blocked = {(p.case, p.rule) for p in problems if p.severity == "block"}
    told = {(p.case, p.rule, p.found) for p in problems}
    problems += [
        Problem.of_note(note)
        for note in noted
        if (note.case, note.kind) not in blocked and (note.case, note.kind, note.text) not in told
    ]
    problems = [replace(p, remedy=pasted(p.remedy, manifest)) for p in problems]
    problems.sort(key=lambda problem: ORDER.index(problem.severity))
    report = CheckReport(problems, {f.case: f.facts for f in ordered}, strict)
    if out is not None:
        _write(report, out, pictures, modalities)
    return report


def _write(
    report: CheckReport, out: Path, pictures: KeptPictures, modalities: Sequence[str]
) -> None:
    worst: dict[str, str] = {}
    for problem in report.problems:
        worst.setdefault(problem.case, problem.severity)
    write_json(out / "check.json", report.as_json())
    report.files = [out / "check.json", *write_thumbnails(out, pictures, worst, modalities)]
