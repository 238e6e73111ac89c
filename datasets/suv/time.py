"""How long after the injection the image counts as scanned, where all clocks of a header agree.

QIBA FDG-PET/CT profile, "vendor-neutral" and "robust" pseudo-code, and what it leaves open: clocks
of one header that differ by whole hours or a day contradict each other. They are settled by a clock
that is independent of both, else by the only one that leads to a possible delay; else refused.
"""

from __future__ import annotations

from datetime import datetime
from typing import NoReturn

from .injection import START_DATE_TIME, START_TIME, injection_of
from .nuclides import longest_delay_s
from .scan_start import Start, check_decay_factor, shown, starts_of
from .tags import Tags

_AGREE_S = 60.0
"""Delays that differ by less are one: 1 minute is 0.6 % of an F-18 SUV."""


def delay_s(tags: Tags, half_life_s: float) -> float:
    """Return the seconds from the injection to the time that the image is decay-corrected to.

    Raises:
        DataError: If either time is missing, clocks contradict each other, or the delay is negative
            or longer than the nuclide allows (`nuclides.longest_delay_s`).
    """
    limit = longest_delay_s(half_life_s)
    starts = starts_of(tags, half_life_s)
    start = starts[0]
    if len(starts) > 1:
        start = _settled(tags, starts, half_life_s, limit)
    injection, rule = injection_of(tags, start.moment, half_life_s, limit)
    delay = (start.moment - injection).total_seconds()
    tags.derived |= {
        "scan_start": shown(start.moment),
        "scan_start_rule": start.rule,
        "injection": shown(injection),
        "injection_rule": rule,
        "delay_s": delay,
    }
    if not 0 <= delay <= limit:
        _refuse_delay(tags, start.moment, injection, rule, limit)
    if delay < 300 and half_life_s > 3000:
        tags.warn(f"the scan starts {delay:.0f} s after the injection: dynamic, or a wrong clock?")
    check_decay_factor(tags, start.moment, half_life_s)
    return delay


def _settled(tags: Tags, starts: list[Start], half_life_s: float, limit: float) -> Start:
    """Return which of several starts that contradict each other is the scan's."""
    sure = [start for start in starts if start.confirmed]
    if len(sure) == 1:
        text = f"clocks of the scan differ by {_apart(starts)}: {sure[0].rule}, as a third confirms"
        tags.warn(text, "clocks settled by a rule")
        return sure[0]
    delays = {}
    for start in starts:
        injection, _ = injection_of(tags, start.moment, half_life_s, limit, dry=True)
        delay = (start.moment - injection).total_seconds()
        if 0 <= delay <= limit:
            delays[start] = delay
    if delays and max(delays.values()) - min(delays.values()) <= _AGREE_S:
        start = next(iter(delays))
        text = f"clocks of the scan differ by {_apart(starts)}: {start.rule}, the only one that"
        tags.warn(f"{text} leads to a possible delay", "clocks settled by a rule")
        return start
    each = " or ".join(f"{shown(start.moment)} ({start.rule})" for start in starts)
    tags.refuse("the clocks of a scan must agree,", "AcquisitionTime", each, "scan_start")


def _apart(starts: list[Start]) -> str:
    moments = [start.moment for start in starts]
    return f"{(max(moments) - min(moments)).total_seconds() / 3600:.4g} h"


def _refuse_delay(
    tags: Tags, scan: datetime, injection: datetime, rule: str, limit: float
) -> NoReturn:
    keyword = START_TIME if rule.startswith(START_TIME) else START_DATE_TIME
    days = scan.date() != injection.date()
    hint = " (de-identification may have shifted dates)" if days else ""
    delay = (scan - injection).total_seconds()
    tags.refuse(
        f"the scan must start within {limit / 3600:.1f} h after the injection,",
        keyword,
        f"injection {shown(injection)}, scan {shown(scan)}, {delay / 3600:.2f} h{hint}",
        "injection",
    )
