"""A phantom cohort is the same every time and whole on disk."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from hilum.core.errors import DataError, RunError, SettingsError
from hilum.core.files import read_json
from hilum.core.settings import load, validate
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.manifest import read_manifest
from hilum.datasets.phantoms.cohort import PhantomSettings, make_case, write_cohort

TINY = PhantomSettings(patients=3, size="tiny", seed=7, nodes=5)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("room ö") / "cohort", TINY)


def test_a_case_is_the_same_every_time() -> None:
    one, two = make_case(TINY, 1), make_case(TINY, 1)
    for name in ("ct", "pet", "label", "instances"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.nodes == two.nodes
    assert one.distractors == two.distractors
    assert one.misregistration == two.misregistration


@pytest.mark.parametrize("change", [{"seed": 8}, {"scanner": "b"}])
def test_another_seed_or_scanner_is_another_patient(change: dict[str, object]) -> None:
    other = make_case(TINY.model_copy(update=change), 1)
    assert other.patient != make_case(TINY, 1).patient


def test_another_index_is_another_patient() -> None:
    one, two = make_case(TINY, 0), make_case(TINY, 2)
    assert one.patient != two.patient
    assert not np.array_equal(one.ct, two.ct)


def test_the_number_of_patients_does_not_change_a_case() -> None:
    more = TINY.model_copy(update={"patients": 50, "test_fraction": 0.9})
    assert np.array_equal(make_case(TINY, 2).pet, make_case(more, 2).pet)


def test_types_and_units_are_those_of_scanners() -> None:
    case = make_case(TINY, 0)
    assert (case.ct.dtype, case.pet.dtype) == (np.float32, np.float32)
    assert (case.label.dtype, case.instances.dtype) == (np.uint8, np.int16)
    assert np.array_equal(case.ct, np.round(case.ct))
    assert -1024 <= case.ct.min() < -900
    assert case.ct.max() > 300
    assert case.pet.min() >= 0
    assert case.ct.shape == case.label.shape == case.instances.shape == case.grid.shape
    assert case.pet.shape == case.pet_grid.shape != case.ct.shape


def test_some_patients_have_no_malignant_node_as_asked() -> None:
    settings = TINY.model_copy(update={"negative_share": 0.5})
    positive = [bool(make_case(settings, index).label.any()) for index in range(4)]
    assert sum(positive) == 2
    none = TINY.model_copy(update={"negative_share": 1.0})
    assert not make_case(none, 0).label.any()
    assert make_case(none, 0).nodes


def test_files_are_nifti_with_the_right_place_and_unit(cohort: Path) -> None:
    case = make_case(TINY, 2)
    folder = cohort.parent / "cases" / case.id
    for name, array, grid in (
        ("ct", case.ct, case.grid),
        ("pet", case.pet, case.pet_grid),
        ("label", case.label, case.grid),
        ("instances", case.instances, case.grid),
    ):
        image = nibabel.load(folder / f"{name}.nii.gz")
        assert str(image.header.get_xyzt_units()[0]) == "mm"
        assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0), array)
        corner = nibabel.affines.apply_affine(image.affine, np.subtract(grid.shape, 1)[::-1])
        assert corner == pytest.approx(grid.to_world(np.subtract(grid.shape, 1)), abs=1e-3)
    assert read_volume(folder / "ct.nii.gz").grid.same_as(case.grid)
    assert np.array_equal(read_label(folder / "label.nii.gz").array, case.label)
    assert nibabel.load(folder / "ct.nii.gz").get_data_dtype() == np.int16


def test_the_table_on_disk_is_that_of_the_case(cohort: Path) -> None:
    case = make_case(TINY, 1)
    about = read_json(cohort.parent / "cases" / case.id / "nodes.json")
    assert about["nodes"] == case.nodes
    assert about["distractors"] == case.distractors
    assert tuple(about["shift_mm"]) == case.shift_mm
    assert about["misregistration"]["breathing_mm"] == case.misregistration.breathing_mm


def test_the_manifest_splits_by_patient(tmp_path: Path, cohort: Path) -> None:
    found = read_manifest(cohort)
    assert [case.id for case in found] == [f"phantom_a_{i:04d}" for i in range(3)]
    assert {case.site for case in found} == {"scanner_a"}
    assert sorted(case.split for case in found) == ["test", "train", "train"]
    assert all(path.exists() for case in found for path in (*case.volumes.values(), case.label))


@pytest.mark.slow
def test_the_number_of_workers_does_not_change_a_byte(tmp_path: Path, cohort: Path) -> None:
    other = write_cohort(tmp_path / "two", TINY, workers=2)
    assert other.read_text() == cohort.read_text()
    for path in sorted((cohort.parent / "cases").rglob("*.nii.gz")):
        twin = other.parent / path.relative_to(cohort.parent)
        assert twin.read_bytes() == path.read_bytes()


def test_running_again_makes_only_what_is_missing(tmp_path: Path) -> None:
    settings = TINY.model_copy(update={"patients": 2})
    seen: list[tuple[int, int, str]] = []
    write_cohort(tmp_path, settings, progress=lambda *step: seen.append(step))
    assert seen == [(1, 2, "phantom_a_0000"), (2, 2, "phantom_a_0001")]
    kept = tmp_path / "cases" / "phantom_a_0000" / "ct.nii.gz"
    lost = tmp_path / "cases" / "phantom_a_0001" / "nodes.json"
    before = kept.stat().st_mtime_ns
    lost.unlink()
    write_cohort(tmp_path, settings)
    assert kept.stat().st_mtime_ns == before
    assert lost.exists()


def test_a_folder_of_other_settings_is_an_error(cohort: Path) -> None:
    with pytest.raises(DataError, match=r"same settings.*choose another folder"):
        write_cohort(cohort.parent, TINY.model_copy(update={"seed": 9}))


def test_a_folder_of_something_else_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match=r"new or empty folder.*found thesis\.txt"):
        write_cohort(tmp_path, TINY)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="must lead through folders"):
        write_cohort(tmp_path / "file" / "cohort", TINY)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("patients", 0, "patients: .*greater than or equal to 1"),
        ("test_fraction", 1.5, "test_fraction: .*less than or equal to 1"),
        ("negative_share", -0.1, "negative_share"),
        ("size", "huge", "size: .*'tiny', 'demo' or 'full'"),
        ("scanner", "c", "scanner"),
        ("fwhm_mm", 0, "fwhm_mm"),
        ("shape", (8, 200, 200), "shape: .*between 16 and 1024"),
        ("shape", (30, 64, 96), "must hold the region"),
        ("ct_spacing", (0.0, 3.0, 3.0), "ct_spacing: .*0.5 and 10 mm"),
        ("pet_spacing", (4.0, 4.0, 40.0), "pet_spacing: .*0.5 and 10 mm"),
        ("misregistration_mm", 99, "misregistration_mm"),
        ("patient", 3, "unknown setting, did you mean 'patients'"),
    ],
)
def test_bad_settings_are_named(key: str, value: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        validate(PhantomSettings, {key: value})


def test_the_command_line_can_set_everything() -> None:
    settings = load(PhantomSettings, overrides=["patients=24", "size=full", "shape=[210, 96, 140]"])
    assert (settings.patients, settings.ct_box()[0]) == (24, (210, 96, 140))
