"""Bring together the series that make one case: by what they refer to, then by study.

A study is what a scanner calls one; archives and planning systems part what belongs together. So a
label goes to the study of the series that it names, whatever study it says it is of; and a study
that lacks a modality is joined with one of the same patient and frame of reference that has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations

from hilum.core.notes import Note

from ..suv.clock import parse_date
from .enhanced import quiet
from .series import Series, overlap
from .settings import Pairing

VOLUMES = ("CT", "PT", "MR")
LABELS = ("RTSTRUCT", "SEG")
Near = Callable[["Visit", "Visit"], tuple[float, str] | None]
"""How far apart two visits are, with the rule that joins them, or nothing."""
_WORDS = {"CT": "CT", "PT": "PET", "MR": "MR"}
_DAYS_OF_A_FRAME = 1
"""Scans of one frame of reference further apart in time were registered, not acquired so."""


@dataclass
class Visit:
    """Series of one case.

    Attributes:
        patient: PatientID.
        members: Its series, labels among them.
        drawn_on: SeriesInstanceUIDs that its labels refer to.
        notes: Which rule brought series of several studies together.
        asked: Whether studies were joined because the user asked for it.
    """

    patient: str
    members: list[Series]
    drawn_on: set[str] = field(default_factory=set)
    notes: list[Note] = field(default_factory=list)
    asked: bool = False

    @property
    def kinds(self) -> set[str]:
        """Kinds of volumes: CT, PT, MR."""
        return {one.kind for one in self.members if one.kind in VOLUMES}

    @property
    def studies(self) -> list[str]:
        """StudyInstanceUIDs of the volumes, else of all members."""
        volumes = [one for one in self.members if one.kind in VOLUMES] or self.members
        return list(dict.fromkeys(one.first["StudyInstanceUID"] for one in volumes))

    @property
    def date(self) -> str:
        """StudyDate of the first series that has one, volumes before labels."""
        order = sorted(self.members, key=lambda one: one.kind not in VOLUMES)
        return next((d for one in order if (d := one.first["StudyDate"])), "")

    @property
    def rule(self) -> str:
        """What brought the series together, in words."""
        return "; ".join(note.text for note in self.notes) or "the series of one study"


@dataclass(frozen=True)
class _References:
    """What a label says that it was drawn on."""

    series: set[str]
    slices: set[str]
    frames: set[str]


def visits_of(
    series: Sequence[Series], pair: Pairing = "reference", days: int = 60
) -> dict[str, Visit]:
    """Return the series of each case by its name: the patient, with a date if there are several.

    Args:
        series: All series below a folder.
        pair: `patient` also joins studies of one patient that have no frame of reference in common,
            if one lacks what the other has.
        days: The most days between studies that `patient` joins; studies without dates count as of
            one day.
    """
    visits: dict[tuple[str, str], Visit] = {}
    for one in series:
        key = one.first["PatientID"], one.first["StudyInstanceUID"]
        visits.setdefault(key, Visit(key[0], [])).members.append(one)
    every = [visit for _, visit in sorted(visits.items())]
    _move_labels(every)
    every = [visit for visit in every if visit.members]
    every = _joined(every, _frame_apart)
    if pair == "patient":
        every = _joined(every, lambda one, other: _days_apart(one, other, days), asked=True)
    return _named(every)


def _named(visits: Sequence[Visit]) -> dict[str, Visit]:
    per_patient: dict[str, int] = defaultdict(int)
    for visit in visits:
        per_patient[visit.patient] += 1
    found: dict[str, Visit] = {}
    for visit in visits:
        uid = visit.studies[0]
        name = visit.patient or f"study_{uid[-12:]}"
        if per_patient[visit.patient] > 1:
            name = f"{name}_{visit.date or uid[-8:]}"
        found[f"{name}_{uid[-8:]}" if name in found else name] = visit
    return found


def _move_labels(visits: Sequence[Visit]) -> None:
    """Move each label to the study of the series that it was drawn on."""
    labels = [(visit, one) for visit in visits for one in visit.members if one.kind in LABELS]
    if not labels:
        return
    of_series, of_slice, of_frame = _owners(visits)
    for visit, label in labels:
        refers = _references(label, of_series)
        owners = [of_series[uid] for uid in refers.series if uid in of_series]
        rule = "the series that it names"
        if not owners:
            owners = [of_slice[uid] for uid in refers.slices if uid in of_slice]
            rule = "the slices that it names"
        if not owners and not refers.series:
            owners = [owner for uid in refers.frames for owner in of_frame.get(uid, [])]
            rule = "its frame of reference"
            owners = owners if len({id(owner) for owner in owners}) == 1 else []
        home = owners[0] if owners and not any(owner is visit for owner in owners) else visit
        home.drawn_on |= refers.series
        if home is not visit:
            visit.members = [one for one in visit.members if one is not label]
            home.members.append(label)
            text = f"the label of {label.name}, of another study, was found by {rule}"
            home.notes.append(Note("info", "labels of another study", text))


def _owners(
    visits: Sequence[Visit],
) -> tuple[dict[str, Visit], dict[str, Visit], dict[str, list[Visit]]]:
    """Return the study of each series, of each slice, and those of each frame of reference."""
    of_series: dict[str, Visit] = {}
    of_slice: dict[str, Visit] = {}
    of_frame: dict[str, list[Visit]] = defaultdict(list)
    for visit in visits:
        for one in visit.members:
            if one.kind in VOLUMES:
                of_series[one.uid] = visit
                of_slice |= {header["SOPInstanceUID"]: visit for header in one.headers}
                of_frame[one.first["FrameOfReferenceUID"]].append(visit)
    of_frame.pop("", None)
    return of_series, of_slice, of_frame


def _references(label: Series, known: Mapping[str, Visit]) -> _References:
    """Read what a label names; its slices only if none of its series is there."""
    from pydicom import dcmread

    from .references import frames_of_reference, referenced_series, referenced_slices

    found = _References(set(), set(), set())
    for header in label.headers:
        try:
            with quiet():
                dataset = dcmread(header.file, stop_before_pixels=True, force=True)
                found.series.update(referenced_series(dataset))
                if not any(uid in known for uid in found.series):
                    found.slices.update(referenced_slices(dataset))
                found.frames.update(frames_of_reference(dataset))
        except Exception:  # a damaged label decides nothing; reading it says what is wrong
            continue
    return found


def _joined(visits: Sequence[Visit], near: Near, asked: bool = False) -> list[Visit]:
    """Join visits of one patient that have no kind in common, the nearest first."""
    left = list(visits)
    while True:
        pairs = [
            (rule, i, j)
            for i, j in combinations(range(len(left)), 2)
            if left[i].patient == left[j].patient
            and (left[i].patient or not asked)
            and left[i].kinds
            and left[j].kinds
            and not left[i].kinds & left[j].kinds
            and (rule := near(left[i], left[j])) is not None
        ]
        if not pairs:
            return left
        (_, rule), i, j = min(pairs)
        left[i] = _union(left[i], left[j], rule, asked)
        del left[j]


def _union(one: Visit, other: Visit, rule: str, asked: bool) -> Visit:
    words = [" and ".join(_WORDS[k] for k in sorted(visit.kinds)) for visit in (one, other)]
    text = f"{words[0]} and {words[1]} of two studies are one case by {rule}"
    note = Note("info", "studies that are one case", text)
    return Visit(
        one.patient,
        [*one.members, *other.members],
        one.drawn_on | other.drawn_on,
        [*one.notes, *other.notes, note],
        one.asked or other.asked or asked,
    )


def _frame_apart(one: Visit, other: Visit) -> tuple[float, str] | None:
    """Return how far apart visits of one frame of reference are, with the rule; else nothing."""
    days = _days(one, other)
    if days is not None and days > _DAYS_OF_A_FRAME:
        return None
    best = max((overlap(a, b) for a, b in _same_frame(one, other)), default=0.0)
    return (-best, "their frame of reference") if best > 0 else None


def _same_frame(one: Visit, other: Visit) -> Iterator[tuple[Series, Series]]:
    for a in one.members:
        frame = a.first["FrameOfReferenceUID"]
        for b in other.members:
            kinds = {a.kind, b.kind}
            if frame and kinds <= set(VOLUMES) and b.first["FrameOfReferenceUID"] == frame:
                yield a, b


def _days_apart(one: Visit, other: Visit, most: int) -> tuple[float, str] | None:
    days = _days(one, other)
    if days is None:
        return 0.0, "their patient, as pair=patient asks (no dates)"
    if days > most:
        return None
    return float(days), f"their patient, as pair=patient asks, {days} days apart"


def _days(one: Visit, other: Visit) -> int | None:
    first, second = _date(one), _date(other)
    return None if first is None or second is None else abs((first - second).days)


def _date(visit: Visit) -> date | None:
    return parse_date(visit.date)
