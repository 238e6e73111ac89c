"""Take corrected masks for labels: the Python side of `hilum annotate take`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hilum.core.case import IGNORE, Case
from hilum.core.errors import DataError, UserError, did_you_mean
from hilum.core.files import hash_of_file
from hilum.core.notes import Note, grouped
from hilum.core.settings import validate
from hilum.datasets.io.mask_values import Values
from hilum.datasets.io.nifti import read_label
from hilum.datasets.manifest import read_manifest

from ..proposing.record import Proposal, proposals_in
from .changes import Changes, changes, unknown_ml
from .known import known_mask
from .matching import match
from .reviewed import Reviewed, read_reviewed
from .settings import TakeSettings
from .several import counts, with_label
from .stale import Stale, lines, stale
from .update import check_store, update
from .versions import Version, check_rater, next_number, write_version


@dataclass
class Taken:
    """What came of a folder of corrected masks.

    Attributes:
        labels: The new label of each case.
        apart: Labels that were kept, but not used: another rater's label counts for the case.
        unedited: Cases whose mask is as it was proposed.
        empty: Cases whose mask marks nothing.
        missing: Cases that were proposed, of which nothing came back.
        stale: Runs that depended on labels of before.
    """

    labels: dict[str, Version] = field(default_factory=dict)
    apart: dict[str, Version] = field(default_factory=dict)
    unedited: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    stale: list[Stale] = field(default_factory=list)


@dataclass(frozen=True)
class _Checked:
    """A corrected mask that may become a label."""

    case: str
    mask: np.ndarray
    version: Version


def take(
    folder: str | Path,
    proposals: str | Path,
    manifest: str | Path,
    *,
    rater: str,
    store: str | Path | None = None,
    labels: str | Path | None = None,
    confirm: Collection[str] = (),
    use: bool = False,
    runs: Sequence[str | Path] = (),
    values: Values | None = None,
    segments: Mapping[str, int] | None = None,
    settings: TakeSettings | None = None,
    say: Callable[[str], None] = print,
) -> Taken:
    """Check corrected masks, keep them as versions, and make them the labels of their cases.

    All files are checked before any is taken. A label is written to
    `<labels>/<case>/<rater>/<number>.nii.gz`, what is known of it next to it; the manifest names
    it, and the store is prepared again for these cases alone. Nothing of before is removed.

    Args:
        folder: What the labeller gave back, or the folder of proposals itself.
        proposals: What `hilum annotate propose` wrote.
        manifest: Names the scans; its column `label` is changed, the file of before kept next to
            it.
        rater: Who corrected.
        store: Made from the manifest; brought up to date.
        labels: Where versions are kept; `labels` next to the manifest if not given.
        confirm: Cases that are taken though they are as proposed, or mark nothing.
        use: Whether these labels count for cases that have one of somebody else.
        runs: Folders with runs, to name those that depended on the labels of before.
        values: What values of masks mean that are no class.
        segments: Class of segments by name, where their names do not say.
        settings: What is unknown, and the round.
        say: Gets what happened.

    Raises:
        DataError: If a file is not what it should be; nothing is taken then.
    """
    settings = settings or validate(TakeSettings, {})
    rater, manifest = check_rater(rater), Path(manifest)
    place = manifest.parent / "labels" if labels is None else Path(labels)
    known, cases = proposals_in(proposals), {c.id: c for c in read_manifest(manifest)}
    _check_confirm(confirm, known)
    if store is not None:
        check_store(store, cases)
    found = match(Path(folder), known)
    result, good, bad = Taken(), list[_Checked](), list(found.bad)
    notes: list[Note] = []
    for case, (file, how) in sorted(found.masks.items()):
        try:
            reviewed = read_reviewed(file, known[case], values, segments)
            notes += reviewed.notes
            mask = known_mask(reviewed, known[case], _case(cases, case, manifest), settings.rest)
            about = _change(known[case], reviewed)
            if case not in confirm and _withheld(case, reviewed, about, result):
                continue
            _check_marks(mask, case, file)
            number = next_number(place, case, rater)
            version = _version(known[case], rater, number, file, how, about, mask, reviewed)
            good.append(_Checked(case, mask, replace(version, round=settings.round)))
        except UserError as error:
            bad.append(str(error))
    if bad:
        raise DataError(
            f"every file must be good; nothing is taken, {len(good)} would be",
            file=folder,
            found="\n  " + "\n  ".join(bad),
            remedy="\nmend them, or move them elsewhere, and run the same command again",
        )
    together = settings.raters == "together"
    result.missing = sorted(set(known) - set(found.masks))
    files = {one.case: write_version(place, one.version, one.mask, known[one.case].grid)
             for one in good}  # fmt: skip
    for one in good:
        mine = counts(cases[one.case], place, rater, together, use)
        (result.labels if mine else result.apart)[one.case] = one.version
    new = {
        case: with_label(cases[case], place, rater, files[case], together) for case in result.labels
    }
    if new:
        update(manifest, cases, new, store, settings.workers, say)
    result.stale = stale(runs, set(new))
    for line in [*grouped(notes), *_lines(result, rater), *lines(result.stale)]:
        say(line)
    return result


def _check_confirm(confirm: Collection[str], known: Mapping[str, Proposal]) -> None:
    for case in confirm:
        if case not in known:
            raise DataError(f"a confirmed case must have proposals{did_you_mean(case, known)}",
                            case=case, remedy="name a case of the proposals")  # fmt: skip


def _case(cases: Mapping[str, Case], case: str, manifest: Path) -> Case:
    if case not in cases:
        raise DataError(
            "the manifest must have the case",
            case=case,
            file=manifest,
            remedy="give the manifest that the proposals were made from",
        )
    if cases[case].split == "test":
        raise DataError(
            "a case that tests must not be labelled by correcting proposals: the test would judge "
            "the network by its own contours",
            case=case,
            file=manifest,
            remedy="remove its mask from the folder",
        )
    return cases[case]


def _change(proposal: Proposal, reviewed: Reviewed) -> Changes:
    before = read_label(proposal.mask_of_proposal, proposal.case).array
    return changes(before, reviewed.mask, proposal.grid.voxel_ml)


def _withheld(case: str, reviewed: Reviewed, about: Changes, result: Taken) -> bool:
    """Note a mask that must be confirmed first: as it was proposed, or empty."""
    if about.added == about.removed == about.redrawn == 0 and not reviewed.looked_at:
        result.unedited.append(case)
        return True
    if not reviewed.mask.any():
        result.empty.append(case)
        return True
    return False


def _check_marks(mask: np.ndarray, case: str, file: Path) -> None:
    """Refuse a label of unknown and background alone: nobody can learn a node from it."""
    if (mask == IGNORE).any() and not ((mask > 0) & (mask != IGNORE)).any():
        raise DataError(
            "a label that is partly unknown must mark a node",
            case=case,
            file=file,
            found="no finished segment",
            remedy="finish a segment (status Completed), or set rest=background if the whole "
            "scan was looked at",
        )


def _version(
    proposal: Proposal,
    rater: str,
    number: int,
    file: Path,
    how: str,
    about: Changes,
    mask: np.ndarray,
    reviewed: Reviewed,
) -> Version:
    return Version(
        case=proposal.case,
        rater=rater,
        number=number,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        source={"file": str(file), "hash": hash_of_file(file)},
        matched=how,
        proposal={**proposal.by, "mask": proposal.mask, "made": proposal.made},
        changes=about.as_json(),
        unknown_ml=unknown_ml(mask, proposal.grid.voxel_ml),
        statuses=reviewed.statuses,
    )


def _lines(result: Taken, rater: str) -> list[str]:
    """Return what happened, for a terminal."""
    told = [
        f"{case}: version {one.number} of {rater} is the label; {Changes(**one.changes).words()}"
        + (f"; {one.unknown_ml:.3g} ml unknown" if one.unknown_ml else "")
        for case, one in result.labels.items()
    ]
    told += [
        f"{case}: version {one.number} of {rater} is kept apart: the case has a label of somebody "
        "else, which still counts; --use changes that, raters=together lets both count"
        for case, one in result.apart.items()
    ]
    for names, why in (
        (result.unedited, "as it was proposed, and not taken: somebody may not have looked at it"),
        (result.empty, "empty, and not taken: it may not have been saved"),
    ):
        told += [f"{name}: {why}; if it is right, add --confirm {name}" for name in names]
    if result.missing:
        few = ", ".join(result.missing[:5]) + (", ..." if len(result.missing) > 5 else "")
        told.append(f"nothing came back of {len(result.missing)} proposed cases: {few}")
    return told
