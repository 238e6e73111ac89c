"""Which of several series is taken, why, and that the choice is one line of the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.datasets.dicom.choose import choose
from hilum.datasets.dicom.contents import matches
from hilum.datasets.dicom.headers import Header
from hilum.datasets.dicom.kernels import sharpness
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.manifest import read_manifest

from .test_choose import make, taken

Write = Callable[..., list[Path]]
pytest.importorskip("pydicom")
SAGITTAL = (0, 1, 0, 0, 0, -1)

KERNELS = [
    ("SIEMENS", "B30f", "soft"), ("SIEMENS", "B70f", "sharp"), ("SIEMENS", "Br40d\\3", "soft"),
    ("SIEMENS", "Bl57d\\3", "sharp"), ("SIEMENS", "I31f\\2", "soft"),
    ("SIEMENS", "I70f\\3", "sharp"),
    ("SIEMENS", "Hr60f", "sharp"), ("SIEMENS", "Qr40", "soft"),
    ("Philips", "A", "soft"), ("Philips", "B", "soft"), ("Philips", "C", "soft"),
    ("Philips", "D", "sharp"), ("Philips", "L", "sharp"), ("Philips", "YA", "sharp"),
    ("PHILIPS MEDICAL", "YC", "sharp"), ("Philips", "UB", "soft"),
    ("GE MEDICAL SYSTEMS", "STANDARD", "soft"), ("GE MEDICAL SYSTEMS", "SOFT", "soft"),
    ("GE MEDICAL SYSTEMS", "LUNG", "sharp"), ("GE MEDICAL SYSTEMS", "BONEPLUS", "sharp"),
    ("GE MEDICAL SYSTEMS", "DETAIL", "sharp"),
    ("TOSHIBA", "FC08", "soft"), ("TOSHIBA", "FC18", "soft"), ("Canon", "FC51", "sharp"),
    ("TOSHIBA", "FC30", "sharp"), ("CANON_MEC", "FC86", "sharp"),
    ("UIH", "B_SOFT_B", "soft"), ("UIH", "LUNG_B", "sharp"), ("ACME", "X9", "unknown"),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "kernel", "expected"), KERNELS)
def test_kernels_of_every_vendor(vendor: str, kernel: str, expected: str) -> None:
    tags = {"Manufacturer": vendor, "ConvolutionKernel": kernel}
    assert sharpness(Header(Path("x"), tags)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thorax Lunge 1.0", "sharp"), ("CT Knochen", "sharp"), ("Abdomen Weichteil", "soft"),
        ("Thorax 1.0 B70f", "sharp"), ("Thorax 1.0 Br36", "soft"), ("CT FC51", "sharp"),
        ("CT WB", "unknown"), ("poumon", "sharp"), ("mediastin 3mm", "soft"),
    ],
)  # fmt: skip
def test_without_a_kernel_the_description_counts(text: str, expected: str) -> None:
    assert sharpness(Header(Path("x"), {"SeriesDescription": text})) == expected


Tags = dict[str, Any]
ADC = "DERIVED\\PRIMARY\\DIFFUSION\\ADC\\NORM"
TRACE = "DERIVED\\PRIMARY\\DIFFUSION\\TRACEW\\NORM"
SIDEWAYS: Tags = {"turn": SAGITTAL}
CHOICES: dict[str, tuple[str, Tags, Tags, str]] = {
    "soft kernel, Philips": (
        "CT", {"Manufacturer": "Philips", "ConvolutionKernel": "L"},
        {"Manufacturer": "Philips", "ConvolutionKernel": "B"}, "soft kernel: B before L",
    ),
    "soft kernel, Canon": (
        "CT", {"ConvolutionKernel": "FC51"}, {"ConvolutionKernel": "FC18"}, "soft kernel",
    ),
    "venous before arterial": (
        "CT", {"SeriesDescription": "art. phase"}, {"SeriesDescription": "portal venous"},
        "phase of contrast: venous before arterial",
    ),
    "no phase before delayed": (
        "CT", {"SeriesDescription": "delayed 5 min"}, {"SeriesDescription": "CT"}, "phase",
    ),
    "axial MR": (
        "MR", {"turn": SAGITTAL, "spacing": (6.0, 2.0, 1.5)}, {"SeriesDescription": "t1 tse tra"},
        "axial: axial before sagittal",
    ),
    "thinner": ("CT", {"spacing": (3.2, 2.0, 1.5)}, {}, "thinner: 3 mm before 3.2 mm"),
    "thinner slices of one distance": (
        "CT", {"SliceThickness": 6.0}, {"SliceThickness": 3.0}, "thinner slices: 3 mm before 6 mm",
    ),
    "originals": ("CT", {"ImageType": ["DERIVED", "SECONDARY"]}, {}, "original"),
    "trace before one direction": (
        "MR", {"ImageType": ["ORIGINAL", "PRIMARY", "DIFFUSION", "NONE"]},
        {"ImageType": TRACE.split("\\")}, "trace of all directions",
    ),
    "the higher b-value": (
        "MR", {"SeriesDescription": "ep2d diff b50"}, {"SeriesDescription": "ep2d diff b800"},
        "higher b-value: b 800 before b 50",
    ),
    "water before fat": (
        "MR", {"SeriesDescription": "t1 vibe dixon F"}, {"SeriesDescription": "t1 vibe dixon W"},
        "water, not fat",
    ),
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("name", CHOICES)
def test_the_choice_its_reason_and_how_to_change_it_are_one_line(
    name: str, turned: bool, dicom_series: Write, tmp_path: Path
) -> None:
    kind, worse, better, reason = CHOICES[name]
    root = tmp_path / "in"
    # Neither the number nor the UID may decide.
    uids = ("1.2.3.2", "1.2.3.1") if turned else ("1.2.3.1", "1.2.3.2")
    dicom_series(root / "worse", kind, uid=uids[0], **worse)
    dicom_series(root / "better", kind, uid=uids[1], **better)
    lines: list[str] = []
    (case,) = read_manifest(import_cohort("dicom", root, tmp_path / "out", say=lines.append))
    (name,) = case.volumes
    (line,) = [line for line in lines if line.startswith("info") and "rather than" in line]
    assert f"{name}: series {uids[1][-1]}" in line
    assert reason in line
    # The remedy, pasted, gives the other one.
    key = line.split("--name '")[1].split("'")[0]
    pattern, _, modality = key.rpartition("=")
    lines.clear()
    import_cohort("dicom", root, tmp_path / "2", {pattern: modality}, say=lines.append)
    (line,) = [line for line in lines if "rather than" in line]
    assert f"{name}: series {uids[0][-1]}" in line
    assert "named by the user" in line


def test_series_that_are_alike_are_a_warning_never_silence(
    dicom_series: Write, tmp_path: Path
) -> None:
    for uid in ("1.2.3.5", "1.2.3.30"):
        dicom_series(tmp_path / "in" / uid, "CT", uid=uid)
    lines: list[str] = []
    import_cohort("dicom", tmp_path / "in", tmp_path / "out", say=lines.append)
    (line,) = [line for line in lines if "rather than" in line]
    assert line.startswith("warning: P1: ct: series 5 'CT WB' rather than series 30 'CT WB'")
    assert "--name '1.2.3.30=ct'" in line


@pytest.mark.parametrize(
    ("text", "types", "expected"),
    [
        ("ep2d_diff_tra", ADC, "mr_adc"), ("ep2d_diff_tra", TRACE, "mr_dwi"),
        ("DWI b1000", "DERIVED\\SECONDARY\\ADC", "mr_adc"),
        ("ax dwi", "ORIGINAL\\PRIMARY\\DIFFUSION\\NONE", "mr_dwi"),
        ("DWI", "ORIGINAL\\PRIMARY\\ADC_MAP", "mr_adc"),
        ("resolve", TRACE, "mr_dwi"), ("resolve_ADC", "DERIVED\\PRIMARY\\DIFFUSION", "mr_adc"),
        ("t2_tse", "ORIGINAL\\PRIMARY\\M", "mr_t2"),
    ],
)  # fmt: skip
def test_image_type_tells_a_map_from_the_images(text: str, types: str, expected: str) -> None:
    assert taken(make("MR", text, ImageType=types)) == {expected: text}


@pytest.mark.parametrize(
    ("kind", "types"),
    [
        ("MR", "ORIGINAL\\PRIMARY\\P\\NONE"), ("MR", "DERIVED\\SECONDARY\\SUBTRACT"),
        ("CT", "DERIVED\\SECONDARY\\IODINE"), ("CT", "DERIVED\\SECONDARY\\PERFUSION"),
        ("MR", "DERIVED\\PRIMARY\\DIFFUSION\\FA"), ("MR", "ORIGINAL\\PRIMARY\\PHASE MAP"),
    ],
)  # fmt: skip
def test_what_is_computed_is_never_taken_unless_named(kind: str, types: str) -> None:
    series = make(kind, "t1", ImageType=types)
    assert not choose([series], {}).volumes
    assert choose([series], {"t1": "ct"}).volumes == {"ct": series}


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("T1+C", "Ax T1+C fs", True), ("lung*", "Lung 1.0 B70f", True),
        ("lung*", "CT lung x", False),
        ("re:^ct.*3mm$", "CT thorax 3mm", True), ("B70f", "CT b70F", True), ("[x]", "CT [x]", True),
        ("*[x]*", "CT [x] 2", True), ("CT", "MR", False),
    ],
)  # fmt: skip
def test_names_are_text_globs_or_marked_expressions(
    pattern: str, text: str, expected: bool
) -> None:
    assert matches(pattern, make("CT", text)) is expected


def test_a_name_that_fits_no_series_is_told_with_the_descriptions(
    dicom_series: Write, tmp_path: Path
) -> None:
    dicom_series(tmp_path / "in", "CT")
    lines: list[str] = []
    import_cohort("dicom", tmp_path / "in", tmp_path / "out", {"Thorax": "ct"}, say=lines.append)
    assert any("--name Thorax fits no series; descriptions: CT WB" in line for line in lines)
