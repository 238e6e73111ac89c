"""Clocks of one header that contradict each other: settled by a stated rule, or refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from hilum.core.errors import DataError
from hilum.datasets.suv.factor import suv_factor

from .pet_headers import pet

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NIGHT = ("235000", "235300", "235600", "235900", "000200", "000500", "000800")
"""Bed positions from ten minutes before midnight on."""


def night(**tags: Any) -> list[Dataset]:
    """Return a scan from 23:50 on, an hour after the injection, under one AcquisitionDate."""
    tags = {"SeriesTime": "235000", "RadiopharmaceuticalStartTime": "225000", **tags}
    tags = {"AcquisitionTime": NIGHT[0], **tags}
    headers = pet(len(NIGHT), **tags)
    for header, clock in zip(headers, NIGHT, strict=True):
        header.AcquisitionTime = clock
    return headers


def delay_of(headers: list[Dataset], **assume: str) -> float:
    derived = suv_factor(headers, assume=assume).audit["derived"]
    assert isinstance(derived, dict)
    return derived["delay_s"]


OVER_MIDNIGHT: dict[str, dict[str, Any]] = {
    "date of the start": {},
    "date of the end": {"AcquisitionDate": "20240516"},
    "no acquisition date": {"AcquisitionDate": None},
    "no date at all": {"AcquisitionDate": None, "SeriesDate": None},
    "series written in the morning": {"SeriesDate": "20240516", "SeriesTime": "083000"},
    "series begun earlier": {"SeriesTime": "234900", "RadiopharmaceuticalStartTime": "224900"},
    "injection by date": {"RadiopharmaceuticalStartDateTime": "20240515225000"},
    "written later, date of the end, injection by date": {
        "SeriesDate": "20240518",
        "SeriesTime": "083000",
        "AcquisitionDate": "20240516",
        "RadiopharmaceuticalStartDateTime": "20240515225000",
    },
}


@pytest.mark.parametrize("name", OVER_MIDNIGHT)
@pytest.mark.parametrize("turned", [False, True])
def test_a_scan_over_midnight_lasts_minutes_not_a_day(name: str, turned: bool) -> None:
    headers = night(**OVER_MIDNIGHT[name])
    assert delay_of(headers[::-1] if turned else headers) == pytest.approx(3600)
    notes = suv_factor(headers).notes
    assert any(note.kind == "clocks settled by a rule" for note in notes)


def test_right_dates_over_midnight_need_no_rule() -> None:
    headers = night()
    for header in headers[4:]:
        header.AcquisitionDate = "20240516"
    assert delay_of(headers) == pytest.approx(3600)
    assert suv_factor(headers).notes == ()


# The scan begins at 11:49:46.20 local time.
INJECTIONS: dict[str, tuple[dict[str, Any], float]] = {
    "UTC in summer": (
        {"DateTime": "20240515084946.20+0000", "Time": "104946.20"}, 3600,
    ),
    "UTC as Z, west of Greenwich": (
        {"DateTime": "20240515154946.20Z", "Time": "104946.20"}, 3600,
    ),
    "UTC, India": ({"DateTime": "20240515051946.20+0000", "Time": "104946.20"}, 3600),
    "UTC on the day before": (
        {"DateTime": "20240514234946.20+0000", "Time": "104946.20"}, 3600,
    ),
    "time to the minute": ({"DateTime": "20240515084946.20+0000", "Time": "104900"}, 3646.2),
    "local with a wrong suffix": (
        {"DateTime": "20240515104946.20+0000", "Time": "104946.20"}, 3600,
    ),
    "the scanner's zone is known": (
        {"DateTime": "20240515084946.20+0000", "Time": "104946.20", "Zone": "+0200"}, 3600,
    ),
    "no suffix, and only the date and time is possible": (
        {"DateTime": "20240515104946.20", "Time": "044946.20"}, 3600,
    ),
    "no suffix, a minute apart": ({"DateTime": "20240515104946.20", "Time": "104900"}, 3600),
}  # fmt: skip


def injected(tags: dict[str, Any], **more: Any) -> list[Dataset]:
    names = {
        "DateTime": "RadiopharmaceuticalStartDateTime",
        "Time": "RadiopharmaceuticalStartTime",
        "Zone": "TimezoneOffsetFromUTC",
    }
    return pet(**{names[key]: value for key, value in tags.items()}, **more)


@pytest.mark.parametrize("name", INJECTIONS)
def test_an_injection_in_another_zone_is_brought_to_the_scanners(name: str) -> None:
    tags, delay = INJECTIONS[name]
    assert delay_of(injected(tags)) == pytest.approx(delay)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a date and time after the scan": (
        {"RadiopharmaceuticalStartDateTime": "20240515144946.20",
         "RadiopharmaceuticalStartTime": "104946.20"},
        "within 6.0 h after the injection.*assume=injection",
    ),
    "two possible times of injection, hours apart": (
        {"RadiopharmaceuticalStartDateTime": "20240515084946.20",
         "RadiopharmaceuticalStartTime": "104946.20"},
        "clocks of the injection must agree.*assume=injection",
    ),
    "UTC alone": (
        {"RadiopharmaceuticalStartDateTime": "20240515094946.20+0000",
         "RadiopharmaceuticalStartTime": None},
        r"needs the scanner's zone \(0008,0201\).*assume=timezone",
    ),
    "series an hour before the acquisition": (
        {"SeriesTime": "104946.20", "RadiopharmaceuticalStartTime": "100000"},
        "clocks of a scan must agree.*assume=scan_start",
    ),
    "series an hour after the acquisition": (
        {"SeriesTime": "124946.20"}, "clocks of a scan must agree.*assume=scan_start",
    ),
    "series a day before": (
        {"SeriesDate": "20240514", "SeriesTime": "110000", "RadionuclideHalfLife": "282276",
         "RadiopharmaceuticalStartDateTime": "20240513100000",
         "RadiopharmaceuticalStartTime": None},
        "clocks of a scan must agree",
    ),
    "a decay factor of other hours": (
        {"DecayFactor": f"{2 ** (7200.5 / 6586.2):.6f}", "ActualFrameDuration": "1000"},
        "clocks of a scan must agree.*DecayFactor",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_clocks_that_nothing_settles_are_refused_with_a_remedy(name: str) -> None:
    tags, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        suv_factor(pet(**tags))


def test_the_remedies_work() -> None:
    alone = pet(**REFUSED["UTC alone"][0])
    assert delay_of(alone, timezone="+0100") == pytest.approx(3600)
    hour = pet(**REFUSED["series an hour before the acquisition"][0])
    assert delay_of(hour, scan_start="series") == pytest.approx(2986.2)
    assert delay_of(hour, scan_start="acquisition") == pytest.approx(6586.2)


def test_acquisitions_of_days_are_no_scan() -> None:
    headers = pet()
    headers[2].AcquisitionDate = "20240516"
    with pytest.raises(DataError, match="takes less than 12 h"):
        suv_factor(headers)


def test_a_third_clock_settles_two() -> None:
    # The series says 10:49, the acquisitions 11:49; the decay factor is that of an hour.
    headers = pet(SeriesTime="104946.20", ActualFrameDuration="1000")
    for index, header in enumerate(headers):
        header.DecayFactor = f"{2 ** ((3600 + 180 * index + 0.5) / 6586.2):.6f}"
    assert delay_of(headers) == pytest.approx(2986.2)
    for index, header in enumerate(headers):
        header.DecayFactor = f"{2 ** ((180 * index + 0.5) / 6586.2):.6f}"
    assert delay_of(headers) == pytest.approx(6586.2)
    ge = pet(SeriesTime="104946.20", Manufacturer="GE MEDICAL SYSTEMS")
    for header in ge:
        block = header.private_block(0x0009, "GEMS_PETD_01", create=True)
        block.add_new(0x0D, "DT", "20240515104946.20")
    assert delay_of(ge) == pytest.approx(2986.2)


def test_a_day_that_leaves_one_possible_delay_is_settled() -> None:
    # SeriesDate is a day early; the injection has its date.
    headers = pet(SeriesDate="20240514", RadiopharmaceuticalStartDateTime="20240515100000.00")
    assert delay_of(headers) == pytest.approx(6586.2)
    (note,) = suv_factor(headers).notes
    assert (note.severity, note.kind) == ("warning", "clocks settled by a rule")


def test_an_enhanced_pet_says_what_it_is_corrected_to() -> None:
    headers = pet(DecayCorrectionDateTime="20240515110000", SeriesTime="114946.20")
    assert delay_of(headers) == pytest.approx(3600)
    derived = suv_factor(headers).audit["derived"]
    assert "DecayCorrectionDateTime" in str(derived)
