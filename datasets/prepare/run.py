"""Prepare a cohort: every case on one grid, cropped to the body, in a case store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, DiskError, StoreError, UserError, did_you_mean
from hilum.core.files import hash_of, hash_of_file, read_json, write_json
from hilum.core.notes import Note, grouped, read_notes
from hilum.core.outputs import output
from hilum.core.side_files import read_side
from hilum.core.spread import spread

from ..io.mask_values import pasted
from ..io.masks import some
from ..manifest import notes_file, read_manifest
from ..store.case_store import VERSION, CaseStore, StoredCase, write_case
from ..store.foreground import nodes_of
from ..store.index import index_row
from ..store.shapes import CaseAbout, read_about
from .case import PrepareSettings, prepare_case

__all__ = ["PrepareSettings", "prepare", "prepare_case"]

Progress = Callable[[int, int, str], None]
RECIPE = "prepare.json"
ASKED = "as asked for"
"""Why a case is left out that somebody named."""


def prepare(
    manifest: str | Path,
    out: str | Path,
    settings: PrepareSettings,
    workers: int = 1,
    progress: Progress | None = None,
    *,
    skip_bad: bool = False,
    leave_out: Sequence[str] = (),
    say: Callable[[str], None] | None = None,
) -> CaseStore:
    """Write the case store of a manifest; cases that are there and fresh are left alone.

    A bad case does not stop the others: all are prepared, then one error names the bad ones.

    Args:
        manifest: The cohort.
        out: Folder of the store.
        settings: How to prepare; another store's folder is an error.
        workers: Processes.
        progress: Gets how many are done, how many there are, and the case.
        skip_bad: Leave bad cases out of the store instead of raising an error.
        leave_out: Cases that are not read and not in the store; `store.json` notes them.
        say: Gets what the user should know of the cases, a line per kind of note.

    Raises:
        DataError: If cases were bad; everything else is prepared.
        StoreError: If the folder holds a store made with other settings.
    """
    cases, asked = _kept(read_manifest(manifest), leave_out)
    if asked and say:
        say(f"left out, as asked for: {', '.join(asked)}; store.json notes it")
    with output(out, "prepare", earlier=RECIPE) as folder:
        return _prepare(manifest, cases, folder, settings, workers, progress, skip_bad, asked, say)


def _kept(cases: Sequence[Case], leave_out: Sequence[str]) -> tuple[list[Case], dict[str, str]]:
    """Return the cases that are not left out, and why the others are.

    Raises:
        DataError: If the manifest has no such case, or nothing would be left.
    """
    known = [case.id for case in cases]
    for name in leave_out:
        if name not in known:
            raise DataError(
                "a case to leave out must be in the manifest",
                found=f"{name!r}{did_you_mean(name, known)}",
                remedy="name it as in the column case",
            )
    if cases and set(known) <= set(leave_out):
        raise DataError(
            "some case must be left",
            found=f"all {len(known)} left out",
            remedy="leave fewer cases out",
        )
    rest = [case for case in cases if case.id not in leave_out]
    return rest, dict.fromkeys(leave_out, ASKED)


def _prepare(
    manifest: str | Path,
    cases: Sequence[Case],
    out: Path,
    settings: PrepareSettings,
    workers: int,
    progress: Progress | None,
    skip_bad: bool,
    asked: dict[str, str],
    say: Callable[[str], None] | None,
) -> CaseStore:
    imported = read_notes(notes_file(manifest))
    recipe = {"version": VERSION, **settings.model_dump(mode="json")}
    if settings.raters == "staple":
        del recipe["raters"]  # so that stores of before there were raters are still the same
    _claim(out, recipe)
    gone = _no_more(out, cases)
    if gone and say:
        say(f"{len(gone)} cases that are not in the manifest leave the index: {some(gone)}")
    bad: dict[str, str] = {}
    work = partial(_prepare_one, out=out, settings=settings, recipe=recipe)
    for done, (name, error) in enumerate(spread(work, cases, workers), 1):
        if error:
            bad[name] = pasted(error, manifest)
        if progress:
            progress(done, len(cases), name)
    good = [case for case in cases if case.id not in bad]
    notes = list(dict.fromkeys([*_of_cases(imported, good), *_notes_in(out, good)]))
    for line in grouped(notes) if say else ():
        say(line)  # pyright: ignore[reportOptionalCall]
    if bad and (not skip_bad or len(bad) == len(cases)):
        raise DataError(
            f"every case must be good; {len(cases) - len(bad)} of {len(cases)} are prepared",
            found="\n  " + "\n  ".join(bad.values()),
            remedy="\nmend them and run the same command again, or leave them out: "
            + " ".join(f"--leave-out {name}" for name in bad),
        )
    _write_index(out, good, settings, recipe, bad | asked, notes)
    return CaseStore(out)


def _prepare_one(case: Case, out: Path, settings: PrepareSettings, recipe: Any) -> tuple[str, str]:
    try:
        folder = out / case.id
        seen = _stamps(case)
        inputs = _inputs(case, folder / "inputs.json", seen)
        about = [recipe, case.patient, case.site, case.split, inputs]
        more = ["partial"] if case.partial else []
        key = hash_of([*about, *more, *([list(case.annotated)] if case.annotated else [])])
        if (folder / "case.json").exists() and (folder / f"{key}.key").exists():
            write_json(folder / "inputs.json", {"seen": seen, "hashes": inputs})
            return case.id, ""
        prepared = prepare_case(case, settings)
        label = prepared.label
        nodes, points = nodes_of(
            label if label is not None else prepared.regions[:0], prepared.grid, case.id
        )
        # An index of before must not vouch for what the folder holds from now on.
        (out / "store.json").unlink(missing_ok=True)
        write_case(folder, prepared, nodes, points, settings.storage)
        write_json(folder / "inputs.json", {"seen": seen, "hashes": inputs})
        (folder / f"{key}.key").touch()
    except DiskError:
        raise
    except UserError as error:
        return case.id, str(error)
    return case.id, ""


def _stamps(case: Case) -> dict[str, list[object]]:
    """Return path, size and time of each file."""
    stamps: dict[str, list[object]] = {}
    for name, file in case.files.items():
        if not file.is_file():
            raise DataError("no such file", case=case.id, file=file, remedy="mend the manifest")
        about = file.stat()
        stamps[name] = [str(file.absolute()), about.st_size, about.st_mtime_ns]
    return stamps


def _inputs(case: Case, noted: Path, seen: dict[str, list[object]]) -> dict[str, str]:
    """Return the hash of each file; files that were not touched since are not read again."""
    if noted.exists():
        before = read_side(noted)
        if before["seen"] == seen:
            return before["hashes"]
    return {name: hash_of_file(file) for name, file in case.files.items()}


def _claim(out: Path, recipe: dict[str, Any]) -> None:
    """Note the settings first, so that a half-made store is never continued with others."""
    file = out / RECIPE
    if not file.exists():
        write_json(file, recipe)
    elif read_json(file) != recipe:
        raise StoreError(
            "the store was made with other settings",
            file=out,
            remedy="choose another folder, or remove this one",
        )


def _no_more(out: Path, cases: Sequence[Case]) -> list[str]:
    """Return the cases of the index that the manifest does not have.

    Raises:
        StoreError: If it has none of them: that is another cohort's store.
    """
    file = out / "store.json"
    if not file.is_file():
        return []
    try:
        before = CaseStore(out).ids
    except UserError:  # a damaged index says nothing, and is about to be written again
        return []
    gone = sorted(set(before) - {case.id for case in cases})
    if before and len(gone) == len(before):
        raise StoreError(
            "the store must be of the cohort of the manifest",
            file=out,
            found=f"none of its {len(before)} cases in the manifest",
            remedy="choose another folder, or write one manifest of both",
        )
    return gone


def _of_cases(notes: Sequence[Note], cases: Sequence[Case]) -> list[Note]:
    """Return the notes of some cases, and those of the cohort."""
    ids = {case.id for case in cases} | {""}
    return [note for note in notes if note.case in ids]


def _notes_in(out: Path, cases: Sequence[Case]) -> list[Note]:
    """Return what was noted of prepared cases, whether by this call or an earlier one."""
    found = []
    for case in cases:
        entries = read_about(out / case.id / "case.json", CaseAbout, VERSION).get("notes", ())
        found += [replace(Note.from_json(entry), case=case.id) for entry in entries]
    return found


def _write_index(
    out: Path,
    cases: Sequence[Case],
    settings: PrepareSettings,
    recipe: Any,
    bad: dict[str, str],
    notes: Sequence[Note],
) -> None:
    """Write `store.json`: one small row per case, so that opening never walks the folders."""
    rows, hashes = [], []
    for case in cases:
        about = read_about(out / case.id / "case.json", CaseAbout, VERSION)
        hashes.append([case.id, about["inputs"], case.patient, case.split])
        rows.append(index_row(about))
    asked = list(settings.modalities or dict.fromkeys(m for row in rows for m in row["modalities"]))
    spacing = settings.spacing
    if spacing is None and rows:
        # Each case has its own: operations in mm, such as a misalignment, go by the usual one.
        spacing = np.median([StoredCase(out / row["id"]).grid.spacing for row in rows], 0).tolist()
    write_json(
        out / "store.json",
        {
            "version": VERSION,
            "modalities": asked,
            "spacing": spacing,
            "classes": 1 + max((row["classes"] for row in rows), default=0),
            "fingerprint": hash_of([recipe, sorted(hashes)]),
            "left_out": bad,
            "notes": [note.as_json() for note in notes],
            "cases": rows,
        },
    )
