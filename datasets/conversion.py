"""Write the NIfTI files of cases whose layout has none: in parallel, whole or not at all, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from ..core.case import Case
from ..core.errors import DataError, Stopped, UserError
from ..core.files import atomic_folder, read_json, write_json
from .source import Imported, LeftOut, Source

VERSION = 1
STAMP = "inputs.json"


@dataclass(frozen=True)
class Conversion:
    """One case that needs files of its own.

    Attributes:
        case: As it will stand in the manifest; its new files lie in `folder_of(source, case.id)`.
        inputs: Every file that `write` reads: a change of size or time writes the case anew.
        write: Writes the files into the folder it gets. Goes to another process: a function at the
            top of a file, or a `functools.partial` of one.
    """

    case: Case
    inputs: tuple[Path, ...]
    write: Callable[[Path], None]


def folder_of(source: Source, case: str) -> Path:
    """Return where the converted files of a case lie."""
    return source.out / "cases" / case


def convert(source: Source, conversions: Sequence[Conversion], into: Imported) -> Imported:
    """Convert every case that is not converted yet, and add it to `into`, in order.

    A case that fails is left out; the others go on.
    """
    reasons: dict[str, str | None] = {}
    for done, (case, reason) in enumerate(_run(source, conversions), 1):
        reasons[case] = reason
        if source.progress:
            source.progress(done, len(conversions), case)
    for conversion in conversions:
        name = conversion.case.id
        reason = reasons[name]
        if reason is None:
            into.cases.append(conversion.case)
        else:
            into.left_out.append(LeftOut(name, reason))
    return into


def _run(source: Source, conversions: Sequence[Conversion]) -> Iterator[tuple[str, str | None]]:
    jobs = [(conversion, folder_of(source, conversion.case.id)) for conversion in conversions]
    if source.workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job[0].case.id, _convert_one(*job)
        return
    pool = ProcessPoolExecutor(source.workers, mp_context=get_context("spawn"))
    try:
        running = {pool.submit(_convert_one, *job): job[0].case.id for job in jobs}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool:
        raise DataError(
            "every worker must live to the end",
            found="one was killed, most likely for want of memory",
            remedy="use fewer workers and run the same command again",
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _convert_one(conversion: Conversion, folder: Path) -> str | None:
    """Return why the case cannot be converted, or nothing."""
    try:
        stamp = _stamp(conversion)
        if _is_done(folder, stamp):
            return None
        with atomic_folder(folder) as part:
            conversion.write(part)
            write_json(part / STAMP, stamp)
    except DataError as error:
        return str(error)
    except (UserError, Stopped):  # such as a full disk: no other case would fare better
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
                "the file must exist", case=conversion.case.id, file=file, found=error.strerror
            ) from error
        inputs[str(file.absolute())] = [stat.st_size, stat.st_mtime_ns]
    return {"version": VERSION, "inputs": inputs}


def _is_done(folder: Path, stamp: dict[str, object]) -> bool:
    if not (folder / STAMP).exists():
        return False
    try:
        return bool(read_json(folder / STAMP) == stamp)
    except UserError:
        return False
