"""When the image counts as scanned and when the tracer was injected: QIBA's rules for SUV.

QIBA FDG-PET/CT profile, "vendor-neutral" and "robust" pseudo-code: a series that is decay-corrected
to START is corrected to the series' date and time, unless that lies after the first acquisition
(then the series was written later, and the scan's start is found another way).
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime, time, timedelta

from pydicom import Dataset

from .clock import parse_date, parse_date_time, parse_time
from .nuclides import longest_delay_s, scanned_on_later_days
from .tags import Tags, named, number_in, value_of

_DAY = timedelta(days=1)
_NOWHEN = date(1900, 1, 1)
_AGREE_S = 60.0
"""Scan starts that differ by less are one: 1 minute is 0.6 % of an F-18 SUV."""
_ACQUISITION, _SERIES = named("AcquisitionTime"), named("SeriesTime")
_START_TIME = "RadiopharmaceuticalStartTime"
_START_DATE_TIME = "RadiopharmaceuticalStartDateTime"


def delay_s(tags: Tags, half_life_s: float) -> float:
    """Return the seconds from the injection to the time that the image is decay-corrected to.

    Raises:
        DataError: If either time is missing, or the delay is negative or longer than the nuclide
            allows (`suv_nuclides.longest_delay_s`).
    """
    scan, scan_rule = _scan_start(tags, half_life_s)
    injection, rule = _injection(tags, scan, half_life_s)
    delay = (scan - injection).total_seconds()
    limit = longest_delay_s(half_life_s)
    tags.derived |= {
        "scan_start": _shown(scan),
        "scan_start_rule": scan_rule,
        "injection": _shown(injection),
        "injection_rule": rule,
        "delay_s": delay,
    }
    if not 0 <= delay <= limit:
        keyword = _START_TIME if rule.startswith(_START_TIME) else _START_DATE_TIME
        days = scan.date() != injection.date()
        hint = " (de-identification may have shifted dates)" if days else ""
        tags.refuse(
            f"the scan must start within {limit / 3600:.1f} h after the injection,",
            keyword,
            f"injection {_shown(injection)}, scan {_shown(scan)}, {delay / 3600:.2f} h{hint}",
            "injection",
        )
    if delay < 300 and half_life_s > 3000:
        tags.warn(f"the scan starts {delay:.0f} s after the injection: dynamic, or a wrong clock?")
    _check_decay_factor(tags, scan, half_life_s)
    return delay


def _scan_start(tags: Tags, half_life_s: float) -> tuple[datetime, str]:
    assumed = str(tags.taken("scan_start") or "")
    series, first = _series_start(tags), _first_acquisition(tags)
    if assumed not in ("", "series", "acquisition"):
        return _assumed_time(tags, assumed, "scan_start", (series or first)), "assumed"
    if assumed != "acquisition" and series and (assumed or first is None or series <= first):
        if first is None:
            tags.warn("no acquisition time: the series' time is not checked against it")
        return series, f"{_SERIES}{', assumed' if assumed else ', not after the first acquisition'}"
    if first is None:
        tags.refuse("a scan must have", "AcquisitionTime", "", "scan_start")
    if assumed:
        return first, f"earliest {_ACQUISITION}, assumed"
    ge = parse_date_time(tags.private(0x0009, 0x0D, "GEMS_PETD_01"), _offset(tags))
    if ge:
        return ge, "GE private scan date and time (0009,xx0d)"
    return _without_series_time(tags, first, half_life_s)


def _without_series_time(tags: Tags, first: datetime, half_life_s: float) -> tuple[datetime, str]:
    """Return the start of a series that was written after the scan and is not GE's."""
    computed = _back_computed(tags, half_life_s)
    if computed:
        spread = max(computed) - min(computed)
        if spread.total_seconds() < _AGREE_S:
            middle = sorted(computed)[len(computed) // 2]
            return middle, "Siemens: acquisition less FrameReferenceTime (0054,1300)"
        tags.warn(f"starts computed from FrameReferenceTime (0054,1300) spread over {spread}")
    return first, f"earliest {_ACQUISITION}, since the series' time is later"


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


def mean_count_time_s(frame_s: float, half_life_s: float) -> float:
    """Return when in a frame the activity equals its mean over the frame, in s from its start."""
    decay = math.log(2) / half_life_s
    lost = decay * frame_s
    return math.log(lost / -math.expm1(-lost)) / decay


def _injection(tags: Tags, scan: datetime, half_life_s: float) -> tuple[datetime, str]:
    assumed = str(tags.taken("injection") or "")
    stamp = parse_date_time(tags.drug_text(_START_DATE_TIME), _offset(tags))
    clock = parse_time(tags.drug_text(_START_TIME))
    if assumed and assumed != "time-of-day":
        return _assumed_time(tags, assumed, "injection", scan), "assumed"
    if assumed:
        clock = clock or (stamp.time() if stamp else None)
        if clock is None:
            tags.refuse("a PET must have a time of injection,", _START_TIME, "", "injection")
        return _last_before(scan, clock), f"{_START_TIME}, time of day only, assumed"
    if stamp and scan.year > _NOWHEN.year:
        _check_clocks(tags, stamp, clock)
        return stamp, _START_DATE_TIME
    clock = clock or (stamp.time() if stamp else None)
    if clock is None:
        found = tags.drug_text(_START_TIME)
        tags.refuse("a PET must have a time of injection,", _START_TIME, found, "injection")
    if scanned_on_later_days(half_life_s):
        tags.refuse(
            "a long-lived nuclide needs the day of the injection,",
            _START_DATE_TIME,
            "",
            "injection",
        )
    injection = _last_before(scan, clock)
    if injection.date() != scan.date():
        tags.warn("the injection is taken to be before midnight, on the day before the scan")
    return injection, f"{_START_TIME}, the last one before the scan"


def _check_clocks(tags: Tags, stamp: datetime, clock: time | None) -> None:
    if clock is None:
        return
    apart = abs((datetime.combine(stamp.date(), clock) - stamp).total_seconds())
    if min(apart, 86400 - apart) > 1:
        tags.warn(
            f"{_START_TIME} says {clock}, {_START_DATE_TIME} {stamp.time()}: the latter is used"
        )


def _last_before(scan: datetime, clock: time) -> datetime:
    """Return the last moment not after the scan at which a clock showed this time."""
    found = datetime.combine(scan.date(), clock)
    return found if found <= scan else found - _DAY


def _assumed_time(tags: Tags, text: str, key: str, scan: datetime | None) -> datetime:
    found, clock = parse_date_time(text), parse_time(text)
    if found is None and clock is not None and scan is not None:
        found = (
            _last_before(scan, clock)
            if key == "injection"
            else datetime.combine(scan.date(), clock)
        )
    if found is None:
        keyword = _START_DATE_TIME if key == "injection" else "SeriesTime"
        tags.refuse(f"assumed {key} must be a time,", keyword, repr(text), key)
    return found


def _series_start(tags: Tags) -> datetime | None:
    day = parse_date(tags.text("SeriesDate"))
    clock = parse_time(tags.text("SeriesTime"))
    day = day or _any_day(tags.headers[0])
    return datetime.combine(day, clock) if clock else None


def _first_acquisition(tags: Tags) -> datetime | None:
    found = [moment for header in tags.headers if (moment := _acquired(header, tags))]
    if not found:
        return None
    first = min(found)
    for keyword in ("AcquisitionDate", "AcquisitionTime"):
        tags.inputs[keyword] = {"tag": named(keyword).split()[-1], "value": _shown(first)}
    return first


def _acquired(header: Dataset, tags: Tags) -> datetime | None:
    clock = parse_time(value_of(header, "AcquisitionTime"))
    day = parse_date(value_of(header, "AcquisitionDate"))
    if clock is None:
        return parse_date_time(value_of(header, "AcquisitionDateTime"), _offset(tags))
    return datetime.combine(day or _any_day(header), clock)


def _any_day(header: Dataset) -> date:
    """Return the day of a series; one in 1900 where de-identification removed them all."""
    for keyword in ("SeriesDate", "AcquisitionDate", "StudyDate"):
        day = parse_date(value_of(header, keyword))
        if day:
            return day
    return _NOWHEN


def _check_decay_factor(tags: Tags, scan: datetime, half_life_s: float) -> None:
    """Compare with the factor that the scanner says it multiplied the first slice by."""
    header = tags.headers[0]
    acquired = _acquired(header, tags)
    factor = number_in(value_of(header, "DecayFactor")) or 0.0
    if acquired is None or factor <= 0:
        return
    middle = mean_count_time_s(max(_milliseconds(header, "ActualFrameDuration"), 1e-3), half_life_s)
    expected = 2 ** (((acquired - scan).total_seconds() + middle) / half_life_s)
    if abs(expected / factor - 1) > 0.05:
        tags.warn(
            f"DecayFactor (0054,1321) is {factor:.4f}, but {expected:.4f} follows from the scan's"
            " start: SUV may be wrong by their ratio"
        )


def _milliseconds(header: Dataset, keyword: str) -> float:
    """Return a duration in s, 0 if missing or damaged."""
    return (number_in(value_of(header, keyword)) or 0.0) / 1000


def _offset(tags: Tags) -> str:
    return value_of(tags.headers[0], "TimezoneOffsetFromUTC")


def _shown(moment: datetime) -> str:
    known = moment.year > _NOWHEN.year
    return moment.isoformat(timespec="milliseconds") if known else moment.strftime("%H:%M:%S")
