"""Dates and times as files have them, and the nuclides that a half-life or a text means."""

from __future__ import annotations

from datetime import date, datetime, time

import pytest

from hilum.datasets.suv.clock import parse_date, parse_date_time, parse_time
from hilum.datasets.suv.nuclides import HALF_LIVES, longest_delay_s, nuclide_in, nuclide_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("102305", time(10, 23, 5)),
        ("102305.123456 ", time(10, 23, 5, 123456)),
        ("102305.5", time(10, 23, 5, 500000)),
        ("102305.", time(10, 23, 5)),
        ("10:23:05", time(10, 23, 5)),
        ("10", time(10)),
        ("235960", time(23, 59, 59)),
        ("240000", None),
        ("106000", None),
        ("9 o'clock", None),
        ("", None),
    ],
)
def test_times_of_day(text: str, expected: time | None) -> None:
    assert parse_time(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240229", date(2024, 2, 29)),
        ("2024.02.29", date(2024, 2, 29)),
        ("2024-02-29", date(2024, 2, 29)),
        ("20230229", None),
        ("2024-0229", None),
        ("", None),
    ],
)
def test_dates(text: str, expected: date | None) -> None:
    assert parse_date(text) == expected


@pytest.mark.parametrize(
    ("text", "offset", "expected"),
    [
        ("20240515102305.25", "", datetime(2024, 5, 15, 10, 23, 5, 250000)),
        ("2024-05-15T10:23:05", "", datetime(2024, 5, 15, 10, 23, 5)),
        ("2024-05-15 10:23", "", datetime(2024, 5, 15, 10, 23)),
        ("20240515233000-0500", "+0100", datetime(2024, 5, 16, 5, 30)),
        ("20240515233000-0500", "", datetime(2024, 5, 15, 23, 30)),
        ("2024-05-15T23:30:00Z", "+0530", datetime(2024, 5, 16, 5, 0)),
        ("20240515", "", None),
        ("202405151", "", None),
    ],
)
def test_dates_with_times(text: str, offset: str, expected: datetime | None) -> None:
    assert parse_date_time(text, offset) == expected


@pytest.mark.parametrize("name", HALF_LIVES)
def test_half_lives_within_two_percent_are_known(name: str) -> None:
    seconds = HALF_LIVES[name]
    assert nuclide_of(seconds) == name
    mass = name.split("-")[1]
    assert nuclide_in(f"^{mass}^{name.split('-')[0]}") == name
    assert nuclide_in(name) == name


@pytest.mark.parametrize("seconds", [0, -6586.2, 6586.2 * 1.03, 109.77, 67.71, 1.83, 1e12])
def test_other_half_lives_are_not(seconds: float) -> None:
    assert nuclide_of(seconds) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18F", "F-18"),
        ("Fluorine-18", "F-18"),
        ("^68^Gallium", "Ga-68"),
        ("68Ga-PSMA-11", "Ga-68"),
        ("Fluciclovine F^18^", "F-18"),
        ("FDG", "F-18"),
        ("^66^Gallium", "Ga-66"),
        ("118F", None),
        ("PSMA", None),
        ("", None),
    ],
)
def test_texts_name_nuclides(text: str, expected: str | None) -> None:
    assert nuclide_in(text) == expected


def test_the_longest_wait_follows_the_nuclide() -> None:
    assert longest_delay_s(HALF_LIVES["F-18"]) == 6 * 3600
    assert longest_delay_s(HALF_LIVES["C-11"]) == pytest.approx(6 * 1221.8)
    assert longest_delay_s(HALF_LIVES["Zr-89"]) == pytest.approx(4 * 282276)
