"""LNQ2023 becomes NIfTI: the same voxels at the same places, training labels partial."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.notes import read_notes
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.manifest import notes_file, read_manifest

sitk = pytest.importorskip("SimpleITK")

SHAPE = (6, 8, 10)
MATRIX = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Columns of ITK's axes in LPS: the first towards posterior, the second towards right."""


def write_nrrd(
    path: Path, array: np.ndarray, start: tuple[float, float, float] = (0, 0, 0)
) -> Path:
    """Write `[z, y, x]`; `start` is the corner within the whole scan, in x, y, z."""
    spacing = np.array([0.7, 0.8, 2.5])
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(MATRIX.ravel().tolist())
    image.SetOrigin((np.array([11.0, -22.0, 33.0]) + MATRIX @ (spacing * start)).tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def ct() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 100


def mask() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[1:3, 2:6, 4:9] = 1
    array[4, 6, 7] = 2
    return array


def tree(root: Path) -> Path:
    for part, number in (("train", "0001"), ("train", "0002"), ("val", "0003")):
        folder = root / part
        write_nrrd(folder / f"lnq2023-{part}-{number}-ct.nrrd", ct())
        write_nrrd(folder / f"lnq2023-{part}-{number}-seg.nrrd", mask())
    write_nrrd(root / "test" / "lnq2023-test-0004-ct.nrrd", ct())
    return root


def test_training_labels_are_partial_and_validation_is_for_testing(tmp_path: Path) -> None:
    cases = read_manifest(import_cohort("lnq", tree(tmp_path / "raw"), tmp_path / "out"))
    assert [(c.id, c.split, c.partial, c.label is None) for c in cases] == [
        ("lnq2023-test-0004", "test", False, True),
        ("lnq2023-train-0001", "train", True, False),
        ("lnq2023-train-0002", "train", True, False),
        ("lnq2023-val-0003", "test", False, False),
    ]


def test_every_voxel_stays_at_its_place_in_the_patient(tmp_path: Path) -> None:
    cases = read_manifest(import_cohort("lnq", tree(tmp_path / "raw"), tmp_path / "out"))
    case = cases[1]
    volume, label = read_volume(case.volumes["ct"]), read_label(case.label or "")
    np.testing.assert_array_equal(volume.array, ct())
    np.testing.assert_array_equal(label.array, mask() > 0)
    image = sitk.ReadImage(str(tmp_path / "raw" / "train" / "lnq2023-train-0001-ct.nrrd"))
    for z, y, x in ((0, 0, 0), (5, 7, 9), (2, 0, 4)):
        left, posterior, superior = image.TransformIndexToPhysicalPoint((x, y, z))
        np.testing.assert_allclose(
            volume.grid.to_world((z, y, x)), (-left, -posterior, superior), atol=1e-4
        )
    assert label.grid.same_as(volume.grid, 1e-3)


def test_a_cropped_mask_is_put_in_place(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    part = mask()[1:5, 2:7, 3:10]
    write_nrrd(root / "train" / "lnq2023-train-0002-seg.nrrd", part, start=(3, 2, 1))
    case = read_manifest(import_cohort("lnq", root, tmp_path / "out"))[2]
    np.testing.assert_array_equal(read_label(case.label or "").array, mask() > 0)
    (note,) = read_notes(notes_file(tmp_path / "out" / "manifest.csv"))
    assert (note.severity, note.case) == ("warning", "lnq2023-train-0002")
    assert "4 x 5 x 7 voxels from (1, 2, 3) on 6 x 8 x 10" in note.text


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ((0.5, 0, 0), "up to 0.35 mm apart"),
        ((0, 0, 0.2), "up to 0.5 mm apart"),
        ((4, 0, 0), r"marked voxels .* outside"),
        ((0, -3, 0), r"marked voxels .* outside"),
        ((500, 0, 0), "without one in common"),
    ],
)
def test_a_mask_beside_its_scan_is_left_out_with_numbers(
    tmp_path: Path, start: tuple[float, float, float], reason: str
) -> None:
    root = tree(tmp_path / "raw")
    write_nrrd(root / "train" / "lnq2023-train-0002-seg.nrrd", mask(), start)
    file = import_cohort("lnq", root, tmp_path / "out")
    (entry,) = read_json(file.with_name("import.json"))["left_out"]
    assert entry["case"] == "lnq2023-train-0002"
    assert re.search(reason, entry["reason"])


def test_bad_cases_are_left_out_with_their_reasons(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    train = root / "train"
    (train / "lnq2023-train-0001-ct.nrrd").write_bytes(b"NRRD0004\nnonsense")
    write_nrrd(train / "lnq2023-train-0002-seg.nrrd", mask(), start=(500, 0, 0))
    (root / "val" / "lnq2023-val-0003-ct.nrrd").unlink()
    lines: list[str] = []
    path = import_cohort("lnq", root, tmp_path / "out", say=lines.append)
    assert [case.id for case in read_manifest(path)] == ["lnq2023-test-0004"]
    text = "\n".join(lines)
    assert "left out 3 of 4" in text
    assert "lnq2023-train-0001-ct.nrrd: the file must be readable" in text
    assert "the label must lie on the grid of its scan" in text
    assert "lnq2023-val-0003: a case must have a CT" in text


def test_a_rerun_converts_only_what_changed(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    files = [tmp_path / "out" / "cases" / f"lnq2023-train-000{i}" / "ct.nii.gz" for i in (1, 2)]
    import_cohort("lnq", root, tmp_path / "out")
    before = [file.stat().st_mtime_ns for file in files]
    write_nrrd(root / "train" / "lnq2023-train-0002-ct.nrrd", ct() + 1)
    import_cohort("lnq", root, tmp_path / "out")
    after = [file.stat().st_mtime_ns for file in files]
    assert (after[0] == before[0], after[1] > before[1]) == (True, True)
    np.testing.assert_array_equal(read_volume(files[1]).array, ct() + 1)


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    (root / "train" / "lnq2023-train-0001-seg.nrrd").write_bytes(b"nonsense")
    one = import_cohort("lnq", root, tmp_path / "one")
    two = import_cohort("lnq", root, tmp_path / "two", workers=2)
    assert one.read_text() == two.read_text()
    for file in one.parent.rglob("*.nii.gz"):
        other = two.parent / file.relative_to(one.parent)
        np.testing.assert_array_equal(read_volume(file).array, read_volume(other).array)


def test_one_folder_of_the_three_is_enough_and_a_wrong_one_refused(tmp_path: Path) -> None:
    root = tree(tmp_path / "in" / "lnq")
    assert len(read_manifest(import_cohort("lnq", root / "val", tmp_path / "out"))) == 1
    with pytest.raises(DataError, match="no such folder"):
        import_cohort("lnq", tmp_path.parent / "none", tmp_path / "out")
