"""The SUV factor of every vendor's way of writing PET, worked out by hand, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from hilum.core.errors import DataError
from hilum.datasets.suv.factor import implausible_suv, suv_factor

from .pet_headers import pet

REAL = (
    Path(os.environ.get("HILUM_REAL_DATA", Path(__file__).parents[4] / "shared/data/sts_petct"))
    / "dicom"
)


def private(
    headers: list[Dataset], group: int, creator: str, element: int, vr: str, value: object
) -> None:
    for header in headers:
        header.private_block(group, creator, create=True).add_new(element, vr, value)


def test_activity_corrected_to_the_start_of_the_series() -> None:
    suv = suv_factor(pet())
    assert suv.factor == pytest.approx(4e-4, rel=1e-12)
    assert suv.audit["derived"] == {
        "nuclide": "F-18",
        "half_life_s": 6586.2,
        "scan_start": "2024-05-15T11:49:46.200",
        "scan_start_rule": "SeriesTime (0008,0031), not after the first acquisition",
        "injection": "2024-05-15T10:00:00.000",
        "injection_rule": "RadiopharmaceuticalStartTime, the last one before the scan",
        "delay_s": 6586.2,
        "dose_bq": 350e6,
        "decay_factor": 0.5,
        "dose_at_reference_bq": 175e6,
        "bw": 70000.0,
    }
    inputs = suv.audit["inputs"]
    assert isinstance(inputs, dict)
    assert inputs["PatientWeight"] == {"tag": "(0010,1030)", "value": "70"}
    assert inputs["RadionuclideTotalDose"]["tag"] == "(0018,1074)"
    assert (suv.audit["assumed"], suv.audit["warnings"]) == ({}, [])
    assert json.loads(json.dumps(suv.audit)) == suv.audit


def test_the_order_of_the_slices_does_not_matter() -> None:
    late = pet(SeriesTime="200000")
    assert suv_factor(late).factor == suv_factor(late[::-1]).factor == pytest.approx(4e-4)


def test_a_series_written_after_the_scan_counts_from_the_earliest_acquisition() -> None:
    suv = suv_factor(pet(SeriesDate="20240517", SeriesTime="080000"))
    assert suv.factor == pytest.approx(4e-4)
    assert "earliest AcquisitionTime" in str(suv.audit["derived"])


def test_ge_private_scan_time_stands_in_for_a_late_series_time() -> None:
    headers = pet(SeriesTime="200000", AcquisitionTime="120000", Manufacturer="GE MEDICAL SYSTEMS")
    private(headers, 0x0009, "GEMS_PETD_01", 0x0D, "DT", "20240515114946.20")
    assert suv_factor(headers).factor == pytest.approx(4e-4)


def test_siemens_scan_start_is_computed_back_from_the_frame_reference_time() -> None:
    # Multi-injection: the acquisition of these beds began 30 and 33 minutes after the scan's start
    # at 11:49:46.2. Frames last 120 s, so that the mean count rate comes (by Taylor, L = ln2/T)
    # 60 - L 120^2 / 24 = 59.9369 s into them.
    headers = pet(2, SeriesTime="200000", Manufacturer="SIEMENS", ActualFrameDuration="120000")
    for header, start, offset in zip(
        headers, ("121946.20", "122246.20"), (1800, 1980), strict=True
    ):
        header.AcquisitionTime = start
        header.FrameReferenceTime = f"{(offset + 59.9369) * 1000:.1f}"
    suv = suv_factor(headers)
    assert suv.factor == pytest.approx(4e-4, rel=1e-6)
    assert "Siemens" in str(suv.audit["derived"])


def test_frame_times_that_contradict_each_other_are_not_used() -> None:
    headers = pet(2, SeriesTime="200000", Manufacturer="SIEMENS", ActualFrameDuration="120000")
    for header, reference in zip(headers, ("60000", "999000"), strict=True):
        header.FrameReferenceTime = reference
    suv = suv_factor(headers)
    assert suv.factor == pytest.approx(4e-4)
    assert "spread" in str(suv.audit["warnings"])


def test_activity_corrected_to_the_injection_is_not_decayed_again() -> None:
    # 70,000 g / 350e6 Bq = 2e-4, whatever the times and the half-life.
    headers = pet(DecayCorrection="ADMIN", RadionuclideHalfLife=None, SeriesTime=None)
    assert suv_factor(headers).factor == pytest.approx(2e-4, rel=1e-12)


def test_philips_counts_by_the_suv_factor() -> None:
    headers = pet(Units="CNTS", PatientWeight=None)
    private(headers, 0x7053, "Philips PET Private Group", 0x00, "DS", "0.00123")
    assert suv_factor(headers).factor == 0.00123


def test_philips_counts_by_the_activity_factor_when_the_suv_factor_is_zero() -> None:
    # 0.25 Bq/ml a count x 4e-4 = 1e-4.
    headers = pet(Units="CNTS")
    private(headers, 0x7053, "Philips PET Private Group", 0x00, "DS", "0.0")
    private(headers, 0x7053, "Philips PET Private Group", 0x09, "DS", "0.25")
    assert suv_factor(headers).factor == pytest.approx(1e-4, rel=1e-12)


def test_philips_tags_are_found_in_another_block_without_creator_and_as_bytes() -> None:
    other = pet(Units="CNTS")
    private(other, 0x7053, "Something else", 0x00, "LO", "9")
    private(other, 0x7053, "Philips PET Private Group", 0x00, "UN", b"0.5 ")
    assert suv_factor(other).factor == 0.5
    bare = pet(Units="CNTS")
    for header in bare:
        header.add_new((0x7053, 0x1000), "UN", b"0.5\0")
    assert suv_factor(bare).factor == 0.5


def test_philips_factors_survive_a_file(tmp_path: Path) -> None:
    headers = pet(Units="CNTS")
    private(headers, 0x7053, "Philips PET Private Group", 0x00, "DS", "0.00123")
    for index, header in enumerate(headers):
        header.save_as(tmp_path / str(index), implicit_vr=True, little_endian=True)
    read = [dcmread(file, force=True) for file in sorted(tmp_path.iterdir())]
    assert suv_factor(read).factor == 0.00123


def test_counts_without_private_factors_are_refused_and_can_be_declared_activity() -> None:
    with pytest.raises(DataError, match=r"\(7053,1000\) or \(7053,1009\).*assume=units"):
        suv_factor(pet(Units="CNTS"))
    suv = suv_factor(pet(Units="CNTS"), assume={"units": "bqml"})
    assert suv.factor == pytest.approx(4e-4)
    assert suv.audit["assumed"] == {"units": "BQML"}


# 70 kg and 1.75 m: BMI 22.857. Janmahasatian 9270 x 70 / (6680 + 216 BMI) = 55.857 kg for men,
# 648900 / (8780 + 244 BMI) = 45.197 kg for women; James 77 - 120 x 0.16 = 57.8 kg for men,
# 74.9 - 148 x 0.16 = 51.22 kg for women; with 128: 56.52 kg. DuBois: 18481.3 cm^2.
@pytest.mark.parametrize(
    ("kind", "sex", "formula", "measure"),
    [
        ("lbm", "M", "janmahasatian", 55857.1),
        ("lbm", "F", "janmahasatian", 45197.0),
        ("lbm", "M", "james", 57800),
        ("lbm", "F", "james", 51220),
        ("bsa", "F", "janmahasatian", 18481.3),
        ("bw", "O", "james", 70000),
    ],
)
def test_lean_body_mass_and_surface_area(kind, sex: str, formula: str, measure: float) -> None:
    suv = suv_factor(pet(PatientSex=sex), kind=kind, assume={"lbm_formula": formula})
    assert suv.factor == pytest.approx(measure / 175e6, rel=1e-5)


@pytest.mark.parametrize(
    ("stored", "kind", "factor"),
    [
        (None, "bw", 1),
        ("BW", "bw", 1),
        ("BW", "lbm", 55.8571 / 70),
        ("LBMJANMA", "lbm", 1),
        ("LBM", "bw", 70 / 57.8),
        ("LBMJAMES128", "bw", 70 / 56.52),
        ("BSA", "bw", 70000 / 18481.3),
    ],
)
def test_suv_stays_or_is_converted_to_the_kind_asked_for(stored, kind, factor: float) -> None:
    headers = pet(Units="GML", SUVType=stored, RadionuclideTotalDose=None)
    assert suv_factor(headers, kind=kind).factor == pytest.approx(factor, rel=1e-5)


def test_suv_needs_no_body_unless_it_is_converted() -> None:
    bare = pet(Units="GML", CorrectedImage="ATTN", PatientWeight=None, PatientSize=None)
    assert suv_factor(bare).factor == 1
    with pytest.raises(DataError, match="PatientWeight"):
        suv_factor(bare, kind="bsa")
    with pytest.raises(DataError, match="IBW"):
        suv_factor(pet(Units="GML", SUVType="IBW"))


@pytest.mark.parametrize(
    ("tags", "delay_s"),
    [
        # Injected at 23:30 the evening before; the scan begins at 00:45.
        ({"RadiopharmaceuticalStartTime": "233000", "SeriesTime": "004500"}, 4500),
        # StartDateTime wins over StartTime.
        ({"RadiopharmaceuticalStartDateTime": "20240515105946.2"}, 3000),
        # Fractions of a second count.
        ({"RadiopharmaceuticalStartTime": "104946.700"}, 3599.5),
        # 08:49:46.2 UTC is 10:49:46.2 in the scanner's zone.
        (
            {
                "RadiopharmaceuticalStartDateTime": "20240515084946.2+0000",
                "TimezoneOffsetFromUTC": "+0200",
            },
            3600,
        ),
        # Without the scanner's zone, the suffix is taken to be it.
        ({"RadiopharmaceuticalStartDateTime": "20240515104946.2+0200"}, 3600),
        # No date is left at all.
        ({"SeriesDate": None, "AcquisitionDate": None}, 6586.2),
    ],
)
def test_time_from_the_injection_to_the_scan(tags: dict, delay_s: float) -> None:
    tags = tags | ({"AcquisitionTime": "235900"} if tags.get("SeriesTime") else {})
    derived = suv_factor(pet(**tags)).audit["derived"]
    assert isinstance(derived, dict)
    assert derived["delay_s"] == pytest.approx(delay_s, abs=1e-6)


def test_a_long_lived_nuclide_is_scanned_days_later() -> None:
    tags = {"RadionuclideHalfLife": "282276", "RadiopharmaceuticalStartDateTime": "20240510100000"}
    suv = suv_factor(pet(**tags))
    # 5 days 1:49:46.2 = 438586.2 s = 1.553750 half-lives of Zr-89.
    assert suv.factor == pytest.approx(2e-4 * 2**1.553750, rel=1e-5)
    with pytest.raises(DataError, match=r"within 313.6 h"):
        suv_factor(pet(**tags | {"RadiopharmaceuticalStartDateTime": "20240401100000"}))


def test_an_impossible_volume_is_named() -> None:
    body = np.zeros((6, 7, 8), np.float32)
    assert "next to no voxel" in str(implausible_suv(body))
    body[1:4, 2:5] = 1.1
    assert implausible_suv(body) is None
    assert implausible_suv(-body) is not None
    body[2, 3, 4] = 501
    assert "above 500" in str(implausible_suv(body))
    assert "next to no voxel" in str(implausible_suv(body / 1e4))
    body[body > 0] = 30
    assert "body mean SUV of 30" in str(implausible_suv(body))
    body[0, 0, 0] = np.nan
    assert "finite" in str(implausible_suv(body))


@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="no real patients here")
@pytest.mark.filterwarnings("ignore:The value length:UserWarning")
def test_a_real_patient_in_grams_per_millilitre_keeps_its_values() -> None:
    files = sorted((REAL / "STS_007/PET/image").iterdir())
    headers = [dcmread(file, stop_before_pixels=True) for file in files]
    suv = suv_factor(headers)
    assert (suv.factor, suv.audit["rule"]) == (1.0, "GML: already SUV by BW")
    # As activity: 82,000 g / (530127456 Bq x 2^(-5492 / 6588)).
    assumed = suv_factor(headers, assume={"units": "BQML", "decay": "START"})
    assert assumed.factor == pytest.approx(82000 / 530127456 * 2 ** (5492 / 6588), rel=1e-12)
