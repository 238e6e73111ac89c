"""Say what a weights file is, and how much of an encoder it would fill, before importing it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hilum.core.checkpoints import LoadReport
from hilum.core.errors import CheckpointError, UserError

from .importing import SOURCES, Imported, fill, recipe_of, recognise
from .reading import ForeignFile, read_foreign
from .source import Request

STAND_INS = ("ct", "pet", "mr", "us", "mr_t1", "mr_t2")
"""Modalities to try a file's input channels with, when it does not name them."""


def look(path: str | Path) -> Iterator[str]:
    """Yield lines on a file: container, tensors, source, architecture, channels, coverage.

    Nothing is written, and nothing in the file is run.

    Raises:
        CheckpointError: If the file cannot be read as weights.
    """
    foreign = read_foreign(path)
    yield from _contents(foreign)
    try:
        source, why = recognise(foreign)
    except CheckpointError as error:
        yield f"source: unknown; {error.remedy}"
        yield f"names: {', '.join(list(foreign.tensors)[:6])}"
        return
    about = SOURCES[source]
    yield f"source: {source} ({about.title}), since {why}"
    yield f"home: {about.home}; licence of the published weights: {about.licence or 'not stated'}"
    try:
        done, modalities = _try(foreign, source)
    except UserError as error:
        yield f"import: not as it is: {error}"
        return
    yield from _outcome(done)
    yield (
        f"import it: hilum import-weights {source} {path} --out DIR "
        f"--modalities {','.join(modalities)}"
        if done.report.covered >= 0.9
        else "import: too little is covered; see the missing tensors"
    )


def _contents(foreign: ForeignFile) -> Iterator[str]:
    kinds = sorted(
        {str(tensor.dtype).removeprefix("torch.") for tensor in foreign.tensors.values()}
    )
    yield f"container: {foreign.kind}; sha256 {foreign.sha256}"
    place = f" under {foreign.group!r}" if foreign.group else ""
    wrapped = f", names without {foreign.prefix!r}" if foreign.prefix else ""
    yield (
        f"weights: {len(foreign.tensors)} tensors{place}, {foreign.numbers():,} numbers, "
        f"{', '.join(kinds)}{wrapped}"
    )
    if foreign.groups:
        others = ", ".join(f"{name} ({count} tensors)" for name, count in foreign.groups.items())
        yield f"other groups: {others}"
    rest = [name for name in foreign.about if not name.startswith("__")]
    if rest:
        yield f"beside them: {', '.join(rest[:12])}"


def _try(foreign: ForeignFile, source: str) -> tuple[Imported, tuple[str, ...]]:
    """Fill an encoder with the channels that the file names, else with as many as it has."""
    named = recipe_of(foreign, Request(STAND_INS[:1]), source).seen
    if named:
        return fill(foreign, Request(named), source), named
    refused: CheckpointError | None = None
    for count in range(1, len(STAND_INS) + 1):
        try:
            return fill(foreign, Request(STAND_INS[:count]), source), STAND_INS[:count]
        except CheckpointError as error:
            refused = refused or error
            if "channels" not in error.rule:
                raise
    assert refused is not None
    raise refused


def _outcome(done: Imported) -> Iterator[str]:
    recipe, report = done.recipe, done.report
    spec = ", ".join(f"{key}={value}" for key, value in recipe.architecture.items())
    yield f"architecture: {spec}"
    seen = f" ({', '.join(recipe.seen)})" if recipe.seen else ""
    colours = " (from 3 colours)" if recipe.colours else ""
    yield f"input channels: {done.encoder.in_channels}{seen}{colours}"
    if any(recipe.zscored):
        shown = "each volume's own mean and deviation"
        of = ["yes" if one else "no" for one in recipe.zscored]
        alike = "" if len(set(of)) == 1 else f" (by channel: {', '.join(of)})"
        yield f"scaled by {shown}{alike}"
    yield f"coverage: {report.lines()[0]}"
    if recipe.whole is not None:
        outputs = [str(output) for output in recipe.whole.outputs]
        shown = ", ".join(outputs[:8]) + (f" and {len(outputs) - 8} more" if outputs[8:] else "")
        yield f"whole network: decoder {recipe.whole.decoder['name']}, outputs: {shown}"
        yield "whole network: import it with --whole"
    yield from _parts(report)
    yield from (f"note: {note}" for note in recipe.notes)


def _parts(report: LoadReport) -> Iterator[str]:
    """Name what is left over by its first part, with counts: a decoder has hundreds of names."""
    for kind, names in (("unexpected", report.unexpected), ("missing", list(report.missing))):
        counts: dict[str, int] = {}
        for name in names:
            part = name.split(".")[0] if kind == "unexpected" else ".".join(name.split(".")[:3])
            counts[part] = counts.get(part, 0) + 1
        if counts:
            shown = ", ".join(f"{part} ({count})" for part, count in list(counts.items())[:8])
            yield f"{kind}: {shown}"
