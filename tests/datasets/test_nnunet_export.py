"""An exported cohort is a sound nnU-Net dataset, and comes back as it was."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, RunError, SettingsError
from hilum.core.geometry import Grid
from hilum.core.settings import load
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_grid, read_label, read_volume, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.nnunet_export import NnunetExport, export_nnunet

from ..warm import python

CT = Grid.from_spacing((10, 14, 12), (3.0, 1.5, 2.0), (-7.0, 4.0, 100.0))
PET = Grid.from_spacing((9, 8, 7), (3.5, 4.0, 4.5), (-9.0, 1.0, 98.0))
SETTINGS = load(NnunetExport, folds=2)


def make(folder: Path, name: str, **changes: object) -> Case:
    """Write a case whose PET is a ramp in the world, so that resampling can be checked."""
    rng = np.random.default_rng(len(name) + ord(name[0]))
    ct = rng.integers(-900, 900, CT.shape).astype(np.int16)
    points = PET.to_world(np.stack(np.indices(PET.shape), -1))
    pet = (200 + points @ [1.0, 0.5, -1.0]).astype(np.float32)
    label = np.zeros(CT.shape, np.uint8)
    label[2:4, 3:8, 4:6], label[6, 9:12, 1:4] = 1, 2
    files = {"ct": folder / name / "ct.nii.gz", "pet": folder / name / "pet.nii.gz"}
    write_volume(files["ct"], ct, CT)
    write_volume(files["pet"], pet, PET)
    mask = write_volume(folder / name / "label.nii.gz", label, CT)
    case = Case(name, f"p-{name[0]}", files, mask, "Zürich")
    return replace(case, **changes)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    cases = [make(folder, name) for name in ("a1", "a2", "b1", "c1")]
    cases.append(make(folder, "d1", split="test"))
    cases.append(make(folder, "e1", split="test", label=None))
    cases.append(make(folder, "f1", label=None))
    ct_only = make(folder, "g1")
    cases.append(replace(ct_only, volumes={"ct": ct_only.volumes["ct"]}))
    return write_manifest(folder / "manifest.csv", cases)


def test_regions_are_written_and_named_when_they_come_back(manifest: Path, tmp_path: Path) -> None:
    order = {"regions": {"whole": (1, 2), "core": (2,)}, "regions_class_order": (1, 2)}
    place = export_nnunet(
        manifest, tmp_path / "Dataset502_Nodes", SETTINGS.model_copy(update=order)
    )
    about = json.loads((place.path / "dataset.json").read_text())
    assert about["labels"] == {"background": 0, "whole": [1, 2], "core": [2]}
    assert about["regions_class_order"] == [1, 2]
    lines: list[str] = []
    import_cohort("nnunet_raw", place.path, tmp_path / "back", say=lines.append)
    told = "'regions={whole: [1, 2], core: [2]}' regions_class_order=[1, 2]"
    assert any(told in line for line in lines)
    wrong = SETTINGS.model_copy(update={**order, "regions": {"whole": (1, 3), "core": (2,)}})
    with pytest.raises(SettingsError, match="region whole must be made of the label's values"):
        export_nnunet(manifest, tmp_path / "Dataset503_Nodes", wrong)
    with pytest.raises(SettingsError, match="regions_class_order must have a value for each"):
        load(NnunetExport, regions={"whole": [1, 2]})


@pytest.fixture(scope="module")
def dataset(manifest: Path) -> Path:
    return export_nnunet(manifest, manifest.parent / "Dataset501_Nodes", SETTINGS).path


def test_only_cases_that_nnunet_can_use_are_written_and_the_others_named(
    manifest: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def show(done: int, total: int, case: str) -> None:
        seen.append(case)

    written = export_nnunet(manifest, tmp_path / "Dataset002_X", SETTINGS, 1, show)
    assert written.train == ["a1", "a2", "b1", "c1"]
    assert written.test == ["d1", "e1"]
    reasons = {entry.case: entry.reason for entry in written.left_out}
    assert reasons == {
        "f1": "case f1: it has no label to train with",
        "g1": "case g1: it has no pet",
    }
    assert sorted(seen) == ["a1", "a2", "b1", "c1", "d1", "e1"]
    names = sorted(path.relative_to(written.path).as_posix() for path in written.path.rglob("*.gz"))
    assert names == sorted(
        [
            f"images{part}/{case}_000{i}.nii.gz"
            for case, part in [*((c, "Tr") for c in written.train), ("d1", "Ts"), ("e1", "Ts")]
            for i in range(2)
        ]
        + [f"labelsTr/{case}.nii.gz" for case in written.train]
        + ["labelsTs/d1.nii.gz"]
    )


def test_every_channel_lies_on_the_labels_grid(dataset: Path) -> None:
    for name in ("imagesTr/a1_0000", "imagesTr/a1_0001", "labelsTr/a1"):
        assert read_grid(dataset / f"{name}.nii.gz").same_as(CT, 1e-3)
    pet = read_volume(dataset / "imagesTr" / "a1_0001.nii.gz")
    points = CT.to_world(np.stack(np.indices(CT.shape), -1))
    index = PET.to_index(points)
    deep = ((index >= 1) & (index <= np.array(PET.shape) - 2)).all(-1)
    ramp = 200 + points @ [1.0, 0.5, -1.0]
    assert deep.sum() > 100
    np.testing.assert_allclose(pet.array[deep], ramp[deep], atol=0.01)


def test_the_description_names_channels_classes_and_patients(dataset: Path) -> None:
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["channel_names"] == {"0": "CT", "1": "PET"}
    assert description["labels"] == {"background": 0, "class_1": 1, "class_2": 2}
    assert description["numTraining"] == 4
    assert description["hilum"]["cases"]["a2"]["patient"] == "p-a"


def test_folds_keep_the_cases_of_a_patient_together(dataset: Path) -> None:
    folds = json.loads((dataset / "splits_final.json").read_text())
    assert sorted(name for fold in folds for name in fold["val"]) == ["a1", "a2", "b1", "c1"]
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == ["a1", "a2", "b1", "c1"]
        assert ("a1" in fold["val"]) == ("a2" in fold["val"])


def test_folds_can_come_from_splits_of_runs(manifest: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.json"
    split.write_text(
        json.dumps(
            {
                "pool": ["f1"],
                "train": ["c1", "b1", "g1"],
                "validation": ["a2", "a1"],
                "test": ["d1"],
            }
        )
    )
    fold = tmp_path / "fold.json"
    parts = {"pool": [], "train": ["a1", "a2", "c1"], "validation": [], "test": ["b1", "d1"]}
    fold.write_text(json.dumps(parts))
    settings = load(NnunetExport, splits=[str(split), str(fold)])
    path = export_nnunet(manifest, tmp_path / "Dataset003_X", settings).path
    assert json.loads((path / "splits_final.json").read_text()) == [
        {"train": ["b1", "c1"], "val": ["a1", "a2"]},
        {"train": ["a1", "a2", "c1"], "val": ["b1"]},
    ]


def test_the_cohort_comes_back_as_it_was(dataset: Path, manifest: Path, tmp_path: Path) -> None:
    before = {case.id: case for case in read_manifest(manifest)}
    after = read_manifest(import_cohort("nnunet_raw", dataset, tmp_path))
    assert [case.id for case in after] == ["a1", "a2", "b1", "c1", "d1", "e1"]
    for case in after:
        old = before[case.id]
        assert (case.patient, case.site, case.split) == (old.patient, old.site, old.split)
        assert list(case.volumes) == list(old.volumes)
        ct, old_ct = read_volume(case.volumes["ct"]), read_volume(old.volumes["ct"])
        np.testing.assert_array_equal(ct.array, old_ct.array)
        assert ct.grid.same_as(old_ct.grid, 1e-3)
        if case.label and old.label:
            np.testing.assert_array_equal(read_label(case.label).array, read_label(old.label).array)
        assert (case.label is None) == (old.label is None)


def test_unknown_voxels_become_the_ignore_label_and_come_back(tmp_path: Path) -> None:
    case, partly = make(tmp_path, "a1"), make(tmp_path, "b1", partial=True)
    array = read_label(case.label or "").array.copy()
    array[0] = 255
    write_volume(case.label or "", array, CT)
    manifest = write_manifest(tmp_path / "manifest.csv", [case, partly])
    path = export_nnunet(manifest, tmp_path / "Dataset004_X").path
    assert json.loads((path / "dataset.json").read_text())["labels"]["ignore"] == 3
    assert read_label(path / "labelsTr" / "a1.nii.gz").array.max() == 3
    assert set(np.unique(read_label(path / "labelsTr" / "b1.nii.gz").array)) == {1, 2, 3}
    first, second = read_manifest(import_cohort("nnunet_raw", path, tmp_path / "back"))
    np.testing.assert_array_equal(read_label(first.label or "").array, array)
    assert (first.partial, second.partial) == (False, True)
    settings = load(NnunetExport, unmarked="background")
    path = export_nnunet(manifest, tmp_path / "Dataset004_X", settings).path
    assert set(np.unique(read_label(path / "labelsTr" / "b1.nii.gz").array)) == {0, 1, 2}


def test_a_missing_channel_can_be_filled_in(tmp_path: Path) -> None:
    case = make(tmp_path, "a1")
    pet_only = replace(case, volumes={"pet": case.volumes["pet"]})
    manifest = write_manifest(tmp_path / "manifest.csv", [pet_only])
    settings = load(
        NnunetExport, missing="fill", modalities=["ct", "pet"], classes=["GTVp", "GTVn"]
    )
    path = export_nnunet(manifest, tmp_path / "Dataset005_X", settings).path
    ct = read_volume(path / "imagesTr" / "a1_0000.nii.gz")
    assert (ct.array == -1024).all()
    assert ct.grid.same_as(CT, 1e-3)
    assert not (path / "splits_final.json").exists(), "one patient cannot be divided"


def test_two_phases_of_ct_are_both_ct_to_nnunet_and_come_back_apart(tmp_path: Path) -> None:
    case = make(tmp_path, "a1")
    phases = replace(case, volumes={"ct_ce": case.volumes["ct"], "ct_nc": case.volumes["ct"]})
    manifest = write_manifest(tmp_path / "manifest.csv", [phases])
    path = export_nnunet(manifest, tmp_path / "Dataset006_X").path
    names = json.loads((path / "dataset.json").read_text())["channel_names"]
    assert names == {"0": "CT", "1": "CT"}
    (back,) = read_manifest(import_cohort("nnunet_raw", path, tmp_path / "back"))
    assert list(back.volumes) == ["ct_ce", "ct_nc"]


@pytest.mark.parametrize("name", ["Nodes", "Dataset1_X", "Dataset001 X"])
def test_the_folder_must_have_a_name_that_nnunet_takes(
    manifest: Path, tmp_path: Path, name: str
) -> None:
    with pytest.raises(SettingsError, match="nnU-Net wants a folder called DatasetXXX_Name"):
        export_nnunet(manifest, tmp_path / name)


def test_a_dataset_of_others_is_never_replaced(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "Dataset007_X").mkdir()
    (tmp_path / "Dataset007_X" / "dataset.json").write_text('{"labels": {}}')
    with pytest.raises(RunError, match="an earlier result of hilum export-nnunet"):
        export_nnunet(manifest, tmp_path / "Dataset007_X")


def test_bad_cases_are_left_out_and_nothing_appears_without_a_good_one(tmp_path: Path) -> None:
    good, cut = make(tmp_path, "a1"), make(tmp_path, "b1")
    far = make(tmp_path, "c1")
    write_volume(far.volumes["pet"], np.zeros(PET.shape), PET.crop((900, 0, 0), PET.shape))
    cut.volumes["pet"].write_bytes(cut.volumes["pet"].read_bytes()[:-40])
    manifest = write_manifest(tmp_path / "manifest.csv", [good, cut, far])
    written = export_nnunet(manifest, tmp_path / "Dataset008_X")
    assert (written.train, [e.case for e in written.left_out]) == (["a1"], ["b1", "c1"])
    assert "pet must lie on the reference" in written.left_out[1].reason
    assert not list(written.path.rglob("b1*"))
    bad = write_manifest(tmp_path / "bad.csv", [cut])
    with pytest.raises(DataError, match=r"one labelled case .* found b1"):
        export_nnunet(bad, tmp_path / "Dataset009_X")
    assert not (tmp_path / "Dataset009_X").exists()


# Forked workers start at once; nnU-Net's own choice would import everything again in each. Of the
# few voxels of these nodes it would draw a hundred million, for half a minute.
NNUNET = """
import multiprocessing, sys
context = multiprocessing.get_context
multiprocessing.get_context = lambda kind=None: context("fork")
if __name__ == "__main__":
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset
    from nnunetv2.experiment_planning.plan_and_preprocess_api import plan_experiment_dataset
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity
    verify_dataset_integrity(sys.argv[1], 1)
    class Fingerprint(DatasetFingerprintExtractor):
        def __init__(self, *given, **more):
            super().__init__(*given, **more)
            self.num_foreground_voxels_for_intensitystats = 1e4
    extract_fingerprint_dataset(501, Fingerprint, num_processes=1, show_progress_bar=False)
    plans, name = plan_experiment_dataset(501, gpu_memory_target_in_gb=4)
    print("PLANNED", sorted(plans["configurations"]), plans["image_reader_writer"])
"""


@pytest.mark.slow
def test_nnunets_own_check_and_planner_take_it(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    (tmp_path / "plan.py").write_text(NNUNET)
    folders = {
        "nnUNet_raw": str(dataset.parent),
        "nnUNet_preprocessed": str(tmp_path / "preprocessed"),
        "nnUNet_results": str(tmp_path / "results"),
    }
    ran = subprocess.run(
        [python(), "-P", "plan.py", str(dataset)],
        cwd=tmp_path,
        env=os.environ | folders,
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "verify_dataset_integrity Done" in ran.stdout
    assert "3d_fullres" in ran.stdout.partition("PLANNED")[2]
    assert "mismatch" not in ran.stdout.lower()
