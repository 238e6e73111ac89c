"""The SUV factor against a second implementation, written line by line from QIBA's pseudo-code.

It shares no code and no shape with the first: times are seconds since year 0, counted by hand, and
each slice is turned into SUV by itself.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import numpy as np
import pytest
from pydicom import Dataset

from hilum.datasets.suv.factor import suv_factor

T = 6586.2


def seconds_of(date: str, time: str) -> float:
    year, month, day = int(date[:4]), int(date[4:6]), int(date[6:8])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = 365 * year + (year - 1) // 4 - (year - 1) // 100 + (year - 1) // 400
    lengths = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    days += sum(lengths[: month - 1]) + day
    return days * 86400 + int(time[:2]) * 3600 + int(time[2:4]) * 60 + float(time[4:])


def qiba_suv(slices: list[Dataset], values: np.ndarray) -> list[np.ndarray]:
    """Return the SUV of rescaled values `[slices, ...]`."""
    result = []
    for this, value in zip(slices, values, strict=True):
        if not ("ATTN" in this.CorrectedImage and "DECY" in this.CorrectedImage):
            raise ValueError("not corrected")
        if this.Units == "GML":
            result.append(value)
            continue
        if this.Units == "CNTS":
            direct = this[0x7053, 0x1000].value if (0x7053, 0x1000) in this else 0
            if float(direct) != 0:
                result.append(value * float(direct))
                continue
            value = value * float(this[0x7053, 0x1009].value)
        drug = this.RadiopharmaceuticalInformationSequence[0]
        dose = float(drug.RadionuclideTotalDose)
        if this.DecayCorrection == "START":
            dose *= math.pow(2, -decay_time(slices, this, drug) / float(drug.RadionuclideHalfLife))
        result.append(value * (float(this.PatientWeight) * 1000 / dose))
    return result


def decay_time(slices: list[Dataset], this: Dataset, drug: Dataset) -> float:
    earliest = min(seconds_of(s.AcquisitionDate, s.AcquisitionTime) for s in slices)
    scan = seconds_of(this.SeriesDate, this.SeriesTime)
    if scan > earliest:
        if (0x0009, 0x100D) in this:
            stamp = this[0x0009, 0x100D].value
            scan = seconds_of(stamp[:8], stamp[8:])
        elif this.Manufacturer == "SIEMENS":
            constant = math.log(2) / T
            frame = float(this.ActualFrameDuration) / 1000
            during = constant * frame
            average = 1 / constant * math.log(during / (1 - math.exp(-during)))
            acquired = seconds_of(this.AcquisitionDate, this.AcquisitionTime)
            scan = acquired - float(this.FrameReferenceTime) / 1000 + average
        else:
            scan = earliest
    if "RadiopharmaceuticalStartDateTime" in drug:
        stamp = drug.RadiopharmaceuticalStartDateTime
        return scan - seconds_of(stamp[:8], stamp[8:])
    clock = float(drug.RadiopharmaceuticalStartTime[4:])
    clock += int(drug.RadiopharmaceuticalStartTime[:2]) * 3600
    clock += int(drug.RadiopharmaceuticalStartTime[2:4]) * 60
    return (scan - clock) % 86400


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M%S.%f")[:-2]


def a_series(rng: np.random.Generator) -> tuple[list[Dataset], float]:
    """Return headers of a scan at any time of any day, written in one of the vendors' ways."""
    start = datetime(2015, 1, 1) + timedelta(seconds=int(rng.integers(0, 15 * 365 * 86400)))
    if rng.random() < 0.5:
        # Often around midnight, at the end of a month or a year.
        start = datetime(int(rng.integers(2016, 2030)), int(rng.choice([1, 3, 7])), 1) + timedelta(
            seconds=int(rng.integers(-7200, 7200))
        )
    delay = float(rng.integers(600, 300 * 60)) + round(float(rng.random()), 2)
    injected = start - timedelta(seconds=delay)
    vendor = str(rng.choice(["SIEMENS", "GE", "Philips", "ACME"]))
    late = bool(rng.random() < 0.6)
    written = start + timedelta(days=int(rng.integers(0, 40)), seconds=9000) if late else start
    headers = []
    for bed in range(3):
        acquired = start + timedelta(seconds=180 * bed)
        header = Dataset()
        header.Manufacturer = vendor
        header.Units = "BQML"
        header.CorrectedImage = ["NORM", "DECY", "ATTN"]
        header.DecayCorrection = "START"
        header.SeriesDate, header.SeriesTime = stamp(written)[:8], stamp(written)[8:]
        header.AcquisitionDate, header.AcquisitionTime = stamp(acquired)[:8], stamp(acquired)[8:]
        header.PatientWeight = "83.5"
        header.ActualFrameDuration = "150000"
        constant = math.log(2) / T
        middle = math.log(150 * constant / (1 - math.exp(-150 * constant))) / constant
        header.FrameReferenceTime = f"{(180 * bed + middle) * 1000:.3f}"
        if vendor == "GE":
            block = header.private_block(0x0009, "GEMS_PETD_01", create=True)
            block.add_new(0x0D, "DT", stamp(start))
        headers.append(header)
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = "287000000", str(T)
    drug.RadiopharmaceuticalStartTime = stamp(injected)[8:]
    if rng.random() < 0.4:
        drug.RadiopharmaceuticalStartDateTime = stamp(injected)
    for header in headers:
        header.RadiopharmaceuticalInformationSequence = [drug]
    _in_other_units(headers, vendor, rng)
    return headers, delay


def _in_other_units(headers: list[Dataset], vendor: str, rng: np.random.Generator) -> None:
    if vendor != "Philips":
        keyword, value = [("DecayCorrection", "ADMIN"), ("Units", "GML")][int(rng.integers(2))]
        for header in headers if rng.random() < 0.3 else []:
            setattr(header, keyword, value)
        return
    direct = "0.0" if rng.random() < 0.5 else "0.000321"
    for header in headers:
        header.Units = "CNTS"
        block = header.private_block(0x7053, "Philips PET Private Group", create=True)
        block.add_new(0x00, "DS", direct)
        block.add_new(0x09, "DS", "1.7")


@pytest.mark.parametrize("seed", range(250))
def test_a_random_scan_has_the_suv_of_the_pseudo_code(seed: int) -> None:
    rng = np.random.default_rng(seed)
    headers, delay = a_series(rng)
    values = rng.uniform(0, 30000, (3, 4, 5))
    suv = suv_factor(headers)
    np.testing.assert_allclose(values * suv.factor, qiba_suv(headers, values), rtol=1e-6)
    derived = suv.audit["derived"]
    assert isinstance(derived, dict)
    if headers[0].DecayCorrection == "START" and "delay_s" in derived:
        assert derived["delay_s"] == pytest.approx(delay, abs=0.01)


def test_more_time_since_the_injection_means_a_higher_suv() -> None:
    headers, _ = a_series(np.random.default_rng(0))
    for header in headers:
        header.Units, header.DecayCorrection = "BQML", "START"
    factors = [
        suv_factor(
            headers, assume={"injection": f"{hour:02d}:00:00", "scan_start": "2024-05-15T13:00:00"}
        ).factor
        for hour in range(12, 7, -1)
    ]
    ratio = np.array(factors[1:]) / factors[:-1]
    np.testing.assert_allclose(ratio, 2 ** (3600 / T))
