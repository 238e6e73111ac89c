"""When the image counts as scanned: the time that its voxels are decay-corrected to.

A series that is decay-corrected to START is corrected to the series' date and time, unless that
lies after the first acquisition (then the series was written later, and the scan's start is found
another way: GE's private tag, Siemens' frame reference times, the first acquisition). An enhanced
PET says the time itself.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from pydicom import Dataset

from .clock import parse_date, parse_date_time, parse_time
from .tags import Tags, named, number_in, value_of

DAY = timedelta(days=1)
NOWHEN = date(1900, 1, 1)
_HALF_DAY = timedelta(hours=12)
"""No scan takes so long: acquisitions further apart ran over midnight, or have wrong dates."""
_AGREE_S = 60.0
"""Scan starts that differ by less are one: 1 minute is 0.6 % of an F-18 SUV."""
_EXACT_S = 2.0
"""Clocks that differ by whole hours to within this are of two time zones."""
_ACQUISITION, _SERIES = named("AcquisitionTime"), named("SeriesTime")
_DECAY = "DecayCorrectionDateTime"


class Start(NamedTuple):
    """A possible start of the scan, what says so, and whether an independent clock agrees."""

    moment: datetime
    rule: str
    confirmed: bool = False


def starts_of(tags: Tags, half_life_s: float) -> list[Start]:
    """Return the start of the scan; several, if clocks contradict each other.

    Raises:
        DataError: If no clock says it.
    """
    assumed = str(tags.taken("scan_start") or "")
    series = _series_start(tags)
    firsts = _first_acquisitions(tags, series)
    first = firsts[0] if firsts else None
    if assumed not in ("", "series", "acquisition"):
        return [Start(_assumed(tags, assumed, series or first), "assumed")]
    if assumed == "series" and series:
        return [Start(series, f"{_SERIES}, assumed")]
    if assumed:
        if first is None:
            tags.refuse("a scan must have", "AcquisitionTime", "", "scan_start")
        return [Start(first, f"earliest {_ACQUISITION}, assumed")]
    stamp = parse_date_time(tags.text(_DECAY), offset_of(tags))
    if stamp:
        return [Start(stamp, named(_DECAY))]
    if series and first is None:
        tags.warn("no acquisition time: the series' time is not checked against it")
        return [Start(series, f"{_SERIES}, not after the first acquisition")]
    if first is None:
        tags.refuse("a scan must have", "AcquisitionTime", "", "scan_start")
    if series and series <= first:
        rule = f"{_SERIES}, not after the first acquisition"
        if first - series < DAY and not whole_hours(first - series):
            return [Start(series, rule)]
        both = [Start(series, rule), Start(first, f"earliest {_ACQUISITION}")]
        return _confirmed(tags, both, half_life_s)
    return _after_the_scan(tags, firsts, series, half_life_s)


def whole_hours(gap: timedelta, exact_s: float = _EXACT_S) -> bool:
    """Say whether a gap is one or more whole hours, up to a day: two zones, or two days."""
    seconds = abs(gap.total_seconds())
    hours = math.floor(seconds / 3600 + 0.5)
    return 1 <= hours <= 24 and abs(seconds - hours * 3600) <= exact_s


def offset_of(tags: Tags) -> str:
    """Return the scanner's offset from UTC, or nothing."""
    return str(tags.taken("timezone") or value_of(tags.headers[0], "TimezoneOffsetFromUTC"))


def mean_count_time_s(frame_s: float, half_life_s: float) -> float:
    """Return when in a frame the activity equals its mean over the frame, in s from its start."""
    decay = math.log(2) / half_life_s
    lost = decay * frame_s
    return math.log(lost / -math.expm1(-lost)) / decay


def check_decay_factor(tags: Tags, scan: datetime, half_life_s: float) -> None:
    """Compare with the factor that the scanner says it multiplied the first slice by.

    Raises:
        DataError: If the start that it implies is whole hours away.
    """
    header = tags.headers[0]
    implied = _implied(tags, header, half_life_s)
    if implied is None or tags.taken("scan_start"):
        return
    # A moment of the first slice; its day is that of the acquisition.
    gap = (implied - scan).total_seconds()
    gap -= 86400 * math.floor(gap / 86400 + 0.5)
    ratio = 2 ** (gap / half_life_s)
    if abs(ratio - 1) > 0.05:
        factor = value_of(header, "DecayFactor")
        text = f"DecayFactor (0054,1321) is {factor}, which means a start {gap / 3600:.4g} h later"
        if whole_hours(timedelta(seconds=gap), 2 * _EXACT_S):
            tags.refuse("the clocks of a scan must agree,", "DecayFactor", text, "scan_start")
        tags.warn(f"{text} than the clocks say: SUV may be wrong by {ratio:.3g}")


def any_day(header: Dataset) -> date:
    """Return the day of a series; one in 1900 where de-identification removed them all."""
    for keyword in ("SeriesDate", "AcquisitionDate", "StudyDate"):
        day = parse_date(value_of(header, keyword))
        if day:
            return day
    return NOWHEN


def _after_the_scan(
    tags: Tags, firsts: list[datetime], series: datetime | None, half_life_s: float
) -> list[Start]:
    """Return the start of a series whose own time is that of its writing."""
    ge = parse_date_time(tags.private(0x0009, 0x0D, "GEMS_PETD_01"), offset_of(tags))
    if ge:
        return [Start(ge, "GE private scan date and time (0009,xx0d)")]
    computed = _back_computed(tags, half_life_s)
    if computed:
        spread = max(computed) - min(computed)
        if spread.total_seconds() < _AGREE_S:
            middle = sorted(computed)[len(computed) // 2]
            return [Start(middle, "Siemens: acquisition less FrameReferenceTime (0054,1300)")]
        tags.warn(f"starts computed from FrameReferenceTime (0054,1300) spread over {spread}")
    found = [
        Start(one, f"earliest {_ACQUISITION}, since the series' time is later") for one in firsts
    ]
    if series and whole_hours(series - firsts[0]):
        found.append(Start(series, _SERIES))
    return _confirmed(tags, found, half_life_s) if len(found) > 1 else found


def _confirmed(tags: Tags, starts: list[Start], half_life_s: float) -> list[Start]:
    """Mark the starts that a clock independent of them implies."""
    witnesses = [m for header in tags.headers if (m := _implied(tags, header, half_life_s))]
    ge = parse_date_time(tags.private(0x0009, 0x0D, "GEMS_PETD_01"), offset_of(tags))
    witnesses += [ge] if ge else []
    witnesses += _back_computed(tags, half_life_s)
    return [
        start._replace(
            confirmed=any(abs((start.moment - one).total_seconds()) < _AGREE_S for one in witnesses)
        )
        for start in starts
    ]


def _implied(tags: Tags, header: Dataset, half_life_s: float) -> datetime | None:
    """Return the start that DecayFactor implies: the factor is of the mean time of the frame."""
    acquired = _acquired(header, tags)
    factor = number_in(value_of(header, "DecayFactor")) or 0.0
    if acquired is None or factor <= 0:
        return None
    frame = max(_milliseconds(header, "ActualFrameDuration"), 1e-3)
    since = math.log2(factor) * half_life_s - mean_count_time_s(frame, half_life_s)
    return acquired - timedelta(seconds=since)


def _back_computed(tags: Tags, half_life_s: float) -> list[datetime]:
    """Return the scan start that each slice of a Siemens implies; none if one cannot tell.

    FrameReferenceTime is when, after the start, the mean count rate of the bed position occurs.
    """
    if not re.search(r"siemens|cps", value_of(tags.headers[0], "Manufacturer"), re.IGNORECASE):
        return []
    found = []
    for header in tags.headers:
        acquired = _acquired(header, tags)
        reference = _milliseconds(header, "FrameReferenceTime")
        frame = _milliseconds(header, "ActualFrameDuration")
        if acquired is None or reference <= 0 or frame <= 0:
            return []
        shift = mean_count_time_s(frame, half_life_s) - reference
        found.append(acquired + timedelta(seconds=shift))
    return found


def _assumed(tags: Tags, text: str, scan: datetime | None) -> datetime:
    found, clock = parse_date_time(text), parse_time(text)
    if found is None and clock is not None and scan is not None:
        found = datetime.combine(scan.date(), clock)
    if found is None:
        tags.refuse("assumed scan_start must be a time,", "SeriesTime", repr(text), "scan_start")
    return found


def _series_start(tags: Tags) -> datetime | None:
    day = parse_date(tags.text("SeriesDate"))
    clock = parse_time(tags.text("SeriesTime"))
    day = day or any_day(tags.headers[0])
    return datetime.combine(day, clock) if clock else None


def _first_acquisitions(tags: Tags, series: datetime | None) -> list[datetime]:
    """Return the earliest acquisition, in order of preference if its day is open.

    Acquisitions of one date that lie around midnight ran over it: the late hours come first. The
    date is that of the start or of the end; the series' time tells, else the injection.

    Raises:
        DataError: If acquisitions of several dates span half a day or more.
    """
    found = sorted({moment for header in tags.headers if (moment := _acquired(header, tags))})
    if not found:
        return []
    firsts = [found[0]]
    if found[-1] - found[0] >= _HALF_DAY:
        if len({moment.date() for moment in found}) > 1 or found[-1] - found[0] >= DAY:
            text = f"{found[0]} to {found[-1]}"
            tags.refuse("a scan takes less than 12 h,", "AcquisitionTime", text, "scan_start")
        gap, late = max((b - a, b) for a, b in pairwise(found))
        if gap < _HALF_DAY:
            text = f"{found[0]} to {found[-1]}"
            tags.refuse("a scan takes less than 12 h,", "AcquisitionTime", text, "scan_start")
        firsts = [late, late - DAY]
        if series:
            # The start is at or before the first acquisition, and less than half a day.
            firsts.sort(key=lambda one: not -DAY / 1440 <= one - series < _HALF_DAY)
        tags.warn(
            f"acquisitions run over midnight under one date: they begin at {shown(firsts[0])}",
            "clocks settled by a rule",
        )
    for keyword in ("AcquisitionDate", "AcquisitionTime"):
        tag = named(keyword).split()[-1]
        tags.inputs[keyword] = {"tag": tag, "value": shown(firsts[0])}
    return firsts


def shown(moment: datetime) -> str:
    """Return a moment, or the time alone where no date is left."""
    known = moment.year > NOWHEN.year
    return moment.isoformat(timespec="milliseconds") if known else moment.strftime("%H:%M:%S")


def _acquired(header: Dataset, tags: Tags) -> datetime | None:
    clock = parse_time(value_of(header, "AcquisitionTime"))
    day = parse_date(value_of(header, "AcquisitionDate"))
    if clock is None:
        return parse_date_time(value_of(header, "AcquisitionDateTime"), offset_of(tags))
    return datetime.combine(day or any_day(header), clock)


def _milliseconds(header: Dataset, keyword: str) -> float:
    """Return a duration in s, 0 if missing or damaged."""
    return (number_in(value_of(header, keyword)) or 0.0) / 1000
