"""What no SUV can be computed from is refused with a remedy, and an assumption mends it."""

from __future__ import annotations

import io

import pytest
from pydicom import dcmread

from hilum.core.errors import DataError, SettingsError
from hilum.datasets.suv.factor import suv_factor
from hilum.datasets.suv.tags import read_assume

from .pet_headers import pet


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"CorrectedImage": ["DECY", "SCAT"]}, r"ATTN must be among CorrectedImage \(0028,0051\)"),
        ({"CorrectedImage": "ATTN"}, r"DECY must be among .* found ATTN"),
        ({"CorrectedImage": None}, "CorrectedImage .* found nothing; .* assume=corrected"),
        ({"Units": "GML", "CorrectedImage": "DECY"}, "ATTN"),
        ({"Units": None}, r"Units \(0054,1001\), found nothing; .* add assume=units"),
        ({"Units": "PROPCPS"}, "found PROPCPS"),
        ({"DecayCorrection": "NONE"}, r"DecayCorrection \(0054,1102\), found NONE"),
        ({"DecayCorrection": None}, "assume=decay"),
        ({"PatientWeight": None}, r"PatientWeight \(0010,1030\), found nothing.*assume=weight_kg"),
        ({"PatientWeight": "0"}, "found 0 kg; .*weight_kg"),
        ({"PatientWeight": "-70"}, "found -70 kg; .*weight_kg"),
        ({"PatientWeight": "70000"}, "found 70000 kg; .*weight_unit"),
        ({"RadionuclideTotalDose": None}, r"RadionuclideTotalDose \(0018,1074\), found nothing"),
        ({"RadionuclideTotalDose": "0"}, "dose_bq"),
        ({"RadionuclideTotalDose": "-350000000"}, "dose_bq"),
        ({"RadionuclideTotalDose": "350"}, "found 350 Bq; .*dose_unit"),
        ({"RadionuclideTotalDose": "350000"}, "found 350000 Bq; .*dose_unit"),
        ({"RadionuclideTotalDose": "350000000000"}, "dose_unit"),
        ({"RadionuclideHalfLife": None}, r"RadionuclideHalfLife \(0018,1075\), found nothing"),
        ({"RadionuclideHalfLife": "0"}, "found 0 s"),
        ({"RadionuclideHalfLife": "109.77"}, r"found 109.77 s \(in minutes: F-18\); .*half_life_s"),
        ({"RadionuclideHalfLife": "1e12"}, "half_life_s"),
        (
            {"RadionuclideHalfLife": "4062.6", "Radiopharmaceutical": "FDG"},
            r"found 4062.6 s \(Ga-68\), but F-18 is named",
        ),
        ({"RadiopharmaceuticalStartTime": None}, "time of injection.*found nothing.*injection"),
        ({"SeriesTime": None, "AcquisitionTime": None}, "AcquisitionTime .*scan_start"),
        ({"RadiopharmaceuticalStartTime": "115000"}, "within 6.0 h .* 24.00 h"),
        (
            {"RadiopharmaceuticalStartDateTime": "20240515130000"},
            r"RadiopharmaceuticalStartDateTime \(0018,1078\), found .* -1.17 h",
        ),
        (
            {"RadiopharmaceuticalStartDateTime": "19991231100000"},
            "de-identification may have shifted dates.* add assume=injection",
        ),
        ({"RadionuclideHalfLife": "45723.6"}, "long-lived nuclide needs the day"),
        ({"RadionuclideHalfLife": "122.24"}, "within 0.2 h"),
    ],
)
def test_what_is_missing_or_absurd_is_refused_in_one_line(tags: dict, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        suv_factor(pet(**tags), case="P7")
    assert str(error.value).startswith("case P7: SUV: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("tags", "assume"),
    [
        ({"PatientWeight": None}, {"weight_kg": 70}),
        ({"PatientWeight": "70000"}, {"weight_unit": "g"}),
        ({"PatientWeight": "154.32358"}, {"weight_unit": "lb"}),
        ({"RadionuclideTotalDose": "350"}, {"dose_unit": "MBq"}),
        ({"RadionuclideTotalDose": "9.459459"}, {"dose_unit": "mCi"}),
        ({"RadionuclideTotalDose": None}, {"dose_bq": "3.5e8"}),
        ({"RadionuclideHalfLife": "109.77"}, {"half_life_s": 6586.2}),
        ({"DecayCorrection": None}, {"decay": "start"}),
        ({"CorrectedImage": None}, {"corrected": "ATTN+DECY"}),
        ({"RadiopharmaceuticalStartTime": None}, {"injection": "10:00:00"}),
        ({"RadiopharmaceuticalStartTime": None}, {"injection": "2024-05-15T10:00:00"}),
        ({"RadiopharmaceuticalStartDateTime": "19991231100000"}, {"injection": "time-of-day"}),
        ({"SeriesTime": None, "AcquisitionTime": None}, {"scan_start": "20240515114946.2"}),
        ({"SeriesTime": "113000"}, {"scan_start": "acquisition"}),
        ({"AcquisitionTime": "100500"}, {"scan_start": "series"}),
    ],
)
def test_an_assumption_takes_the_place_of_a_tag_and_is_on_record(tags: dict, assume: dict) -> None:
    suv = suv_factor(pet(**tags), assume=assume)
    assert suv.factor == pytest.approx(4e-4, rel=1e-6)
    assert suv.audit["assumed"] == (assume if "decay" not in assume else {"decay": "START"}) | {
        key: float(assume[key]) for key in assume if key in ("dose_bq", "weight_kg")
    }


def test_an_assumption_that_was_not_needed_is_not_on_record() -> None:
    assert suv_factor(pet(), assume={"size_m": 1.7}).audit["assumed"] == {}


@pytest.mark.parametrize(
    "assume",
    [
        {"wieght_kg": 70},
        {"weight_kg": "heavy"},
        {"dose_bq": -1},
        {"decay": "NONE"},
        {"injection": ""},
    ],
)
def test_an_impossible_assumption_is_refused(assume: dict) -> None:
    with pytest.raises(SettingsError):
        suv_factor(pet(), assume=assume)


def test_assumptions_are_read_from_one_line() -> None:
    assert read_assume("injection=2024-05-15T10:00:00; decay=start") == {
        "injection": "2024-05-15T10:00:00",
        "decay": "START",
    }
    assert read_assume(None) == read_assume("") == {}
    with pytest.raises(SettingsError, match="key=value"):
        read_assume("assume-bqml")


def test_height_in_centimetres_is_refused_until_its_unit_is_given() -> None:
    with pytest.raises(DataError, match=r"found 175 m; .*size_unit"):
        suv_factor(pet(PatientSize="175"), kind="bsa")
    suv = suv_factor(pet(PatientSize="175"), kind="bsa", assume={"size_unit": "cm"})
    assert suv.factor == pytest.approx(18481.3 / 175e6, rel=1e-5)
    with pytest.raises(DataError, match="PatientSex"):
        suv_factor(pet(PatientSex="O"), kind="lbm")


def test_doubts_are_on_record() -> None:
    clocks = suv_factor(pet(RadiopharmaceuticalStartDateTime="20240515103000"))
    assert "10:00:00" in str(clocks.audit["warnings"])
    named = suv_factor(
        pet(RadionuclideHalfLife=None, Radiopharmaceutical="Fluorodeoxyglucose F^18^")
    )
    assert named.factor == pytest.approx(4e-4)
    assert "6586.2 s of F-18 is used" in str(named.audit["warnings"])
    early = suv_factor(pet(RadiopharmaceuticalStartTime="114900"))
    assert "dynamic" in str(early.audit["warnings"])
    # Corrected by the factor of an hour's wait, yet the scan started with this frame.
    decay = suv_factor(pet(DecayFactor="1.46", ActualFrameDuration="1000"))
    assert "DecayFactor" in str(decay.audit["warnings"])
    assert not suv_factor(pet(DecayFactor="1.0", ActualFrameDuration="1000")).audit["warnings"]


def test_slices_of_two_series_are_refused() -> None:
    headers = pet(2)
    headers[1].Units = "GML"
    with pytest.raises(DataError, match=r"must agree in Units .*'BQML' and 'GML'"):
        suv_factor(headers)
    headers = pet(2)
    headers[1].PatientWeight = "70.0"
    assert suv_factor(headers).factor == pytest.approx(4e-4)
    with pytest.raises(DataError, match="must have slices"):
        suv_factor([])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (b"70.0", b"70kg", "PatientWeight"),
        (b"350000000", b"350 MBq!!", "RadionuclideTotalDose"),
        (b"6586.2", b"2 hour", "RadionuclideHalfLife"),
        (b"100000.00", b"ten clock", "RadiopharmaceuticalStartTime"),
    ],
)
def test_texts_where_numbers_belong_are_refused(right: bytes, wrong: bytes, message: str) -> None:
    file = io.BytesIO()
    pet(1, PatientWeight="70.0")[0].save_as(file, implicit_vr=True, little_endian=True)
    data = file.getvalue()
    assert data.count(right) == 1
    header = dcmread(io.BytesIO(data.replace(right, wrong)), force=True)
    with pytest.raises(DataError, match=message):
        suv_factor([header])
