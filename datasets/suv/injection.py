"""When the tracer was injected, where the header says it in two ways that may contradict.

RadiopharmaceuticalStartTime is the scanner's local time. RadiopharmaceuticalStartDateTime may have
an offset from UTC; without (0008,0201) the scanner's own offset is not known. The rule: what agrees
to the minute is one. A gap of whole hours is two time zones: the start time, which has none, is
local. If the date and time has no offset either, it is taken where the time alone is not possible;
where both are, nothing settles them.
"""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta

from .clock import parse_date_time, parse_time
from .nuclides import scanned_on_later_days
from .scan_start import DAY, NOWHEN, offset_of
from .tags import Tags, value_of

START_TIME = "RadiopharmaceuticalStartTime"
START_DATE_TIME = "RadiopharmaceuticalStartDateTime"
_ZONE_S = 900
"""Time zones differ by multiples of this."""
_LONGEST_ZONE = timedelta(hours=14)
_SETTLED = "clocks settled by a rule"

Moment = tuple[datetime, str]
"""A time, and the rule that found it."""


def injection_of(
    tags: Tags, scan: datetime, half_life_s: float, limit_s: float, dry: bool = False
) -> Moment:
    """Return the time of the injection and the rule that found it.

    Args:
        tags: Of the series.
        scan: Its start.
        half_life_s: Of the nuclide.
        limit_s: The longest possible delay.
        dry: Whether to leave no warnings on record.

    Raises:
        DataError: If there is none, or two contradict each other.
    """
    count = len(tags.notes)
    found = _injection(tags, scan, half_life_s, limit_s)
    if dry:
        del tags.notes[count:]
    return found


def _injection(tags: Tags, scan: datetime, half_life_s: float, limit_s: float) -> Moment:
    assumed = str(tags.taken("injection") or "")
    text = tags.drug_text(START_DATE_TIME)
    stamp = parse_date_time(text, offset_of(tags))
    clock = parse_time(tags.drug_text(START_TIME))
    if assumed and assumed != "time-of-day":
        return _assumed(tags, assumed, scan), "assumed"
    if assumed:
        clock = clock or (stamp.time() if stamp else None)
        if clock is None:
            tags.refuse("a PET must have a time of injection,", START_TIME, "", "injection")
        return _last_before(scan, clock), f"{START_TIME}, time of day only, assumed"
    if stamp and scan.year > NOWHEN.year:
        return _of_stamp(tags, text, stamp, clock, (scan, limit_s))
    clock = clock or (stamp.time() if stamp else None)
    if clock is None:
        found = tags.drug_text(START_TIME)
        tags.refuse("a PET must have a time of injection,", START_TIME, found, "injection")
    if scanned_on_later_days(half_life_s):
        tags.refuse(
            "a long-lived nuclide needs the day of the injection,",
            START_DATE_TIME,
            "",
            "injection",
        )
    injection = _last_before(scan, clock)
    if injection.date() != scan.date():
        text = "the injection is taken to be before midnight, on the day before the scan"
        tags.note(text, "injections before midnight")
    return injection, f"{START_TIME}, the last one before the scan"


def _of_stamp(
    tags: Tags, text: str, stamp: datetime, clock: time | None, scan: tuple[datetime, float]
) -> Moment:
    """Return the injection by its date and time, checked against its time."""
    zone = re.search(r"([+-]\d\d:?\d\d|Z)$", text.strip())
    local = not zone or bool(offset_of(tags))
    if clock is None:
        if zone and not local and zone[1].lstrip("+-").replace(":", "") in ("Z", "0000"):
            return _universal(tags, text, stamp), f"{START_DATE_TIME}, in the scanner's zone"
        return stamp, START_DATE_TIME
    apart = _apart(stamp, clock)
    if abs(apart) <= 60:
        return stamp, START_DATE_TIME
    if not _zones_apart(apart, clock, _ZONE_S if zone else 3600):
        text = f"{START_TIME} says {clock}, {START_DATE_TIME} {stamp.time()}: the latter is used"
        tags.warn(text)
        return stamp, START_DATE_TIME
    if not local:
        near = [datetime.combine(stamp.date(), clock) + k * DAY for k in (0, -1, 1)]
        possible = [
            one
            for one in near
            if abs(one - stamp) <= _LONGEST_ZONE and 0 <= (scan[0] - one).total_seconds() <= scan[1]
        ]
        if possible:
            tags.warn(
                f"{START_DATE_TIME} is {text}, {START_TIME} {clock}: the latter is taken, since it"
                " has no offset from UTC",
                _SETTLED,
            )
            return max(possible), f"{START_TIME}, on the day of {START_DATE_TIME}"
    if 0 <= (scan[0] - _last_before(scan[0], clock)).total_seconds() <= scan[1]:
        if not 0 <= (scan[0] - stamp).total_seconds() <= scan[1]:
            return stamp, START_DATE_TIME
        found = f"{clock} and {text}"
        tags.refuse("the clocks of the injection must agree,", START_DATE_TIME, found, "injection")
    tags.warn(f"{START_TIME} {clock} is not possible: {START_DATE_TIME} {stamp} is taken", _SETTLED)
    return stamp, START_DATE_TIME


def _universal(tags: Tags, text: str, stamp: datetime) -> datetime:
    """Return a time of UTC as local time, by another clock that the header has in both ways."""
    for header in tags.headers:
        clock = parse_time(value_of(header, "AcquisitionTime"))
        other = value_of(header, "AcquisitionDateTime")
        moment = parse_date_time(other)
        if clock and moment and re.search(r"[+-]\d\d:?\d\d$|Z$", other.strip()):
            apart = _apart(moment, clock)
            if apart % _ZONE_S in (0, _ZONE_S):
                return stamp + timedelta(seconds=apart)
    tags.refuse(
        "a time of injection in UTC needs the scanner's zone (0008,0201),",
        START_DATE_TIME,
        text,
        "timezone",
    )


def _apart(stamp: datetime, clock: time) -> float:
    """Return how many seconds the clock is ahead of the stamp's time of day, at most half a day."""
    gap = (datetime.combine(stamp.date(), clock) - stamp).total_seconds()
    return (gap + 43200) % 86400 - 43200


def _zones_apart(gap_s: float, clock: time, step_s: float) -> bool:
    """Say whether a gap is one of time zones: whole, to 2 s or to the minute of a round clock."""
    off = (gap_s + step_s / 2) % step_s - step_s / 2
    return abs(off) <= 2 or (clock.second == 0 and -60 < off <= 0)


def _last_before(scan: datetime, clock: time) -> datetime:
    """Return the last moment not after the scan at which a clock showed this time."""
    found = datetime.combine(scan.date(), clock)
    return found if found <= scan else found - DAY


def _assumed(tags: Tags, text: str, scan: datetime) -> datetime:
    found, clock = parse_date_time(text), parse_time(text)
    if found is None and clock is not None:
        found = _last_before(scan, clock)
    if found is None:
        tags.refuse("assumed injection must be a time,", START_DATE_TIME, repr(text), "injection")
    return found
