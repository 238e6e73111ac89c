"""What is taken from a study: by what descriptions say in practice, and by geometry."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.datasets.dicom.choose import choose
from hilum.datasets.dicom.headers import Header
from hilum.datasets.dicom.series import Series, group

SOP = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
}


def make(
    kind: str, text: str, uid: str = "1", gap: float = 2.0, n: int = 10, **tags: str
) -> Series:
    """Return a series of empty slices along the patient, in one frame of reference."""
    headers = [
        Header(
            Path(uid, str(k)),
            {
                "SOPClassUID": SOP[kind],
                "PatientID": "p",
                "StudyInstanceUID": "s",
                "SeriesInstanceUID": uid,
                "SeriesDescription": text,
                "SeriesNumber": uid,
                "Rows": "10",
                "Columns": "12",
                "PixelSpacing": "1\\1",
                "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
                "ImagePositionPatient": f"0\\0\\{k * gap}",
                "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
                "FrameOfReferenceUID": "f",
                **tags,
            },
        )
        for k in range(n)
    ]
    (series,) = group(headers)
    return series


def taken(*study: Series, **names: str) -> dict[str, str]:
    """Return the description of what is taken, by modality."""
    volumes = choose(study, names).volumes
    return {name: series.first["SeriesDescription"] for name, series in volumes.items()}


@pytest.mark.parametrize(
    "text",
    [
        "CT LOW DOSE AC", "WB Low-dose CTAC 3D", "AC CT Protocol 2.0", "CT_3mm", "Thorax 1.5 cor",
        "LOWDOSE WB 2.0 Br36", "CTAC 3.75 Thick", "Survivor study CT",
    ],
)  # fmt: skip
def test_usual_names_of_ct_are_taken(text: str) -> None:
    assert taken(make("CT", text)) == {"ct": text}


@pytest.mark.parametrize(
    "text",
    [
        "Topogram 0.6", "SCOUT", "scanogram", "Localiser", "Surview", "Dose Report", "DoseInfo",
        "Patient Protocol", "SmartPrep Series", "PreMonitoring", "Screen Save", "PET_CT_FUSED",
        "CT MIP", "WB_MPR cor", "minIP", "3D Model",
    ],
)  # fmt: skip
def test_scouts_reports_and_made_pictures_are_not_taken(text: str) -> None:
    assert taken(make("CT", text)) == {}


@pytest.mark.parametrize(
    "text", ["PET WB 3D AC", "PET AC 3D MAC", "[WB_CTAC] Body", "WB TrueX AC", "PET Corrected"]
)
def test_usual_names_of_corrected_pet_are_taken(text: str) -> None:
    assert taken(make("PT", text)) == {"pet": text}


@pytest.mark.parametrize(
    "text",
    [
        "PET NAC", "PET_NAC", "[WB_NAC] Body", "NoAC", "no-AC", "PET non AC", "Uncorrected",
        "PET WB w/o AC", "NON ATTENUATION", "no attc", "NOATTN WB",
    ],
)  # fmt: skip
def test_names_of_uncorrected_pet_are_not_taken_whatever_the_tag_lacks(text: str) -> None:
    assert taken(make("PT", text)) == {}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SAG T1 FSE", "mr_t1"), ("T1 3D MPRAGE", "mr_t1"), ("t1_vibe_dixon", "mr_t1"),
        ("T1_FLAIR", "mr_t1"), ("T1 POST GAD", "mr_t1_ce"), ("Ax T1 +C", "mr_t1_ce"),
        ("T1 pre contrast", "mr_t1"), ("T1 without contrast", "mr_t1"), ("t1_DIFFERENT", "mr_t1"),
        ("T2 COR", "mr_t2"), ("STIR", "mr_t2"), ("T2* GRE", "mr_swi"), ("SWI", "mr_swi"),
        ("T2 FLAIR", "mr_flair"), ("ep2d_b50_800_ADC", "mr_adc"), ("DWI b1000", "mr_dwi"),
        ("ep2d_diff_b800", "mr_dwi"), ("PD fs", "mr_pd"), ("strange", "mr"),
    ],
)  # fmt: skip
def test_sequences_are_known_by_their_names(text: str, name: str) -> None:
    assert taken(make("MR", text)) == {name: text}


def test_contrast_of_the_header_counts_for_t1_unless_the_name_denies_it() -> None:
    for text, name in (("T1 tse", "mr_t1_ce"), ("T1 tse nativ", "mr_t1")):
        assert set(taken(make("MR", text, ContrastBolusAgent="Dotarem"))) == {name}


def test_a_reprojection_is_not_taken() -> None:
    assert taken(make("PT", "PET", SeriesType="WHOLE BODY\\REPROJECTION")) == {}


def test_a_series_with_a_missing_slice_gives_way_and_the_report_says_why() -> None:
    whole = make("CT", "whole", "1", gap=3.0, n=6)
    thin = make("CT", "thin", "2", gap=2.0)
    holes = Series(thin.headers[:4] + thin.headers[5:])
    choice = choose([whole, holes], {})
    assert choice.volumes == {"ct": whole}
    assert choice.reasons[1][1].endswith("preferred as ct, since slices are missing here")
    assert choose([holes], {}).volumes == {"ct": holes}


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"n": 10}, {"n": 30, "text": "lung B70f"}),  # coverage before kernel
        ({"text": "B70f"}, {"text": "B30f", "gap": 2.1}),  # kernel before thin slices
        ({"gap": 8.0, "n": 20}, {"gap": 3.0}),  # not thick, even if longer
        ({"ImageType": "DERIVED\\SECONDARY", "n": 30}, {}),
        ({"ImageOrientationPatient": "1\\0\\0\\0\\0\\-1", "ImagePositionPatient": ""}, {}),
        ({"gap": 3.0, "n": 10}, {"gap": 2.0, "n": 15}),
    ],
)
def test_what_is_preferred(worse: dict, better: dict) -> None:
    series = []
    for uid, values in (("1", worse), ("2", better)):
        one = make("CT", **{"text": "CT", "uid": uid, **values})
        if values.get("ImageOrientationPatient"):  # coronal: its slices follow each other in y
            moved = [
                Header(h.file, {**h.tags, "ImagePositionPatient": f"0\\{2 * k}\\0"})
                for k, h in enumerate(one.headers)
            ]
            one = Series(tuple(moved))
        series.append(one)
    assert choose(series, {}).volumes["ct"] is series[1]
    assert choose(series[::-1], {}).volumes["ct"] is series[1]


def test_a_series_that_a_label_was_drawn_on_comes_first() -> None:
    short, long = make("CT", "short", "1", n=6), make("CT", "long", "2", n=60)
    assert choose([short, long], {}, {"1"}).volumes["ct"] is short


def test_what_lies_elsewhere_than_the_pet_is_not_paired() -> None:
    pet = make("PT", "PET", "1")
    near = make("CT", "CT", "2", FrameOfReferenceUID="other")
    far = Series(
        tuple(
            Header(h.file, {**h.tags, "ImagePositionPatient": f"0\\0\\{900 + 2 * k}"})
            for k, h in enumerate(near.headers)
        )
    )
    choice = choose([pet, near], {})
    assert set(choice.volumes) == {"ct", "pet"}
    assert [note.text for note in choice.notes] == [
        "CT and PET have no frame of reference in common; they lie at the same place"
    ]
    choice = choose([pet, far], {})
    assert set(choice.volumes) == {"pet"}
    assert choice.reasons[1][1] == "not taken: lies elsewhere than series 1 'PET'"


def test_an_mr_of_another_place_is_not_paired_but_one_of_the_frame_of_reference_is() -> None:
    ct, mr = make("CT", "CT", "1"), make("MR", "T1", "2")
    away = make("MR", "T2", "3", FrameOfReferenceUID="other", ImagePositionPatient="")
    assert set(taken(ct, mr)) == {"ct", "mr_t1"}
    # A position that is not known is no reason to pair.
    moved = [
        Header(h.file, {**h.tags, "ImagePositionPatient": f"800\\0\\{2 * k}"})
        for k, h in enumerate(away.headers)
    ]
    assert set(taken(ct, mr, Series(tuple(moved)))) == {"ct", "mr_t1"}
