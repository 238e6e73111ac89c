"""Read dates and times as DICOM, or a person, writes them."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone


def parse_time(text: str) -> time | None:
    """Read a DICOM TM, or `10:23:00`; `None` if it is no time of day.

    Examples:
        >>> parse_time("102300.25"), parse_time("1023"), parse_time("257000")
        (datetime.time(10, 23, 0, 250000), datetime.time(10, 23), None)
    """
    match = re.fullmatch(r"(\d\d)(?::?(\d\d)(?::?(\d\d)(\.\d*)?)?)?", text.strip())
    if not match:
        return None
    hour, minute, second = (int(part or 0) for part in match.group(1, 2, 3))
    micro = int((match[4] or ".")[1:7].ljust(6, "0"))
    try:
        # TM allows a leap second, datetime does not.
        return time(hour, minute, min(second, 59) if second <= 60 else second, micro)
    except ValueError:
        return None


def parse_date(text: str) -> date | None:
    """Read a DICOM DA, `2024.05.15` or `2024-05-15`; `None` if it is no date."""
    match = re.fullmatch(r"(\d{4})([.-]?)(\d\d)\2(\d\d)", text.strip())
    try:
        return date(int(match[1]), int(match[3]), int(match[4])) if match else None
    except ValueError:
        return None


def parse_date_time(text: str, offset: str = "") -> datetime | None:
    """Read a DICOM DT or ISO date and time, as local time of the scanner.

    Args:
        text: `20240515102300.25+0200`, `2024-05-15T10:23:00`.
        offset: The scanner's (0008,0201) TimezoneOffsetFromUTC, such as `+0100`: a suffix of
            `text` is converted to it; without it, the suffix is taken to be the scanner's own.

    Returns:
        The time without a time zone, or `None` if it is none with at least day and hour.
    """
    match = re.fullmatch(
        r"(\d{4}-?\d\d-?\d\d)[T ]?(\d\d[\d:]*(?:\.\d*)?)([+-]\d\d:?\d\d|Z)?", text.strip()
    )
    day, clock = (parse_date(match[1]), parse_time(match[2])) if match else (None, None)
    if not match or day is None or clock is None:
        return None
    here, there = _zone(offset), _zone(match[3] or "")
    found = datetime.combine(day, clock)
    if here is None or there is None:
        return found
    return found.replace(tzinfo=there).astimezone(here).replace(tzinfo=None)


def _zone(text: str) -> timezone | None:
    match = re.fullmatch(r"([+-])(\d\d):?(\d\d)", text.strip().replace("Z", "+0000"))
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
