"""Write the NIfTI files of cases whose layout has none: in parallel, whole or not at all, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import DataError, Stopped, UserError
from hilum.core.files import atomic_folder, read_json, write_json
from hilum.core.notes import Note, read_notes, write_notes
from hilum.core.spread import spread

from .source import Imported, LeftOut, Source

VERSION = 2
STAMP = "inputs.json"
NOTES = "notes.json"


@dataclass(frozen=True)
class Conversion:
    """One case that needs files of its own.

    Attributes:
        case: As it will stand in the manifest; its new files lie in `folder_of(source, case.id)`.
        inputs: Every file that `write` reads: a change of size or time writes the case again.
        write: Writes the files into the folder it gets, and returns what the user should know of
            them, if anything; a rerun that finds them done gives the same notes. Goes to another
            process: a function at the top of a file, or a `functools.partial` of one.
        key: Of the settings; another one writes the case again.
    """

    case: Case
    inputs: tuple[Path, ...]
    write: Callable[[Path], Sequence[Note] | None]
    key: str = ""


def folder_of(source: Source, case: str) -> Path:
    """Return where the converted files of a case lie."""
    return source.out / "cases" / case


def convert(source: Source, conversions: Sequence[Conversion], into: Imported) -> Imported:
    """Convert every case that is not converted yet, and add it to `into`, in order.

    A case that fails is left out; the others go on.
    """
    reasons: dict[str, str | None] = {}
    jobs = [(conversion, folder_of(source, conversion.case.id)) for conversion in conversions]
    for done, (case, reason) in enumerate(spread(_convert_one, jobs, source.workers), 1):
        reasons[case] = reason
        if source.progress:
            source.progress(done, len(conversions), case)
    for conversion in conversions:
        name = conversion.case.id
        reason = reasons[name]
        if reason is None:
            into.cases.append(conversion.case)
            into.notes.extend(read_notes(folder_of(source, name) / NOTES))
        else:
            into.left_out.append(LeftOut(name, reason))
    return into


def _convert_one(job: tuple[Conversion, Path]) -> tuple[str, str | None]:
    """Return the case, and why it cannot be converted, or nothing."""
    conversion, folder = job
    return conversion.case.id, why_not(lambda: _write(conversion, folder))


def _write(conversion: Conversion, folder: Path) -> None:
    stamp = _stamp(conversion)
    if _is_done(folder, stamp):
        return
    with atomic_folder(folder) as part:
        notes = conversion.write(part)
        if notes:
            write_notes(part / NOTES, (replace(n, case=conversion.case.id) for n in notes))
        write_json(part / STAMP, stamp)


def why_not(work: Callable[[], None]) -> str | None:
    """Do some work on one case; return why it cannot be done, or nothing.

    Raises:
        UserError: If no other case would fare better, as on a full disk.
    """
    try:
        work()
    except DataError as error:
        return str(error)
    except (UserError, Stopped):
        raise
    except Exception as error:  # what libraries make of damaged files is beyond listing
        text = " ".join(str(error).split())
        return f"the case must be readable, found {type(error).__name__}: {text}"
    return None


def _stamp(conversion: Conversion) -> dict[str, object]:
    inputs = {}
    for file in conversion.inputs:
        try:
            stat = file.stat()
        except OSError as error:
            raise DataError(
                f"the file cannot be read: {error.strerror}",
                case=conversion.case.id,
                file=file,
                remedy="check the path and who may read it",
            ) from error
        inputs[str(file.absolute())] = [stat.st_size, stat.st_mtime_ns]
    return {"version": VERSION, "key": conversion.key, "inputs": inputs}


def _is_done(folder: Path, stamp: dict[str, object]) -> bool:
    if not (folder / STAMP).exists():
        return False
    try:
        return bool(read_json(folder / STAMP) == stamp)
    except UserError:
        return False
