"""Weights say whom they saw, and a test patient is found again by name, by file and by voxels."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import CheckpointError, DataError
from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.seen import Seen, patient_hash, together
from hilum.core.settings import validate
from hilum.datasets.io.content import hash_of_scan
from hilum.datasets.io.nifti import Volume, read_volume, write_volume
from hilum.datasets.leakage import check_unseen, seen_cases, seen_in
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore

GRID = Grid.from_spacing((8, 10, 12), (4, 4, 4))


def scan(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).normal(0, 20, GRID.shape)
    body = np.full(GRID.shape, -1000, np.float32)
    body[1:-1, 1:-1, 1:-1] = np.round(40 + noise[1:-1, 1:-1, 1:-1])
    return body


def cohort(folder: Path, patients: dict[str, int], spacing: float = 4.0) -> CaseStore:
    """Prepare one CT per patient; the number says which scan it is."""
    cases = []
    for name, number in patients.items():
        file = write_volume(folder / name / "ct.nii.gz", scan(number), GRID)
        cases.append(Case(f"{name}_a", name, {"ct": file}, None, "", ""))
    manifest = write_manifest(folder / "manifest.csv", cases)
    settings = validate(PrepareSettings, {"spacing": (spacing,) * 3})
    return prepare(manifest, folder / "store", settings)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return cohort(tmp_path_factory.mktemp("one"), {"anna": 0, "bert": 1, "cleo": 2})


def weights(folder: Path, seen: Seen | None) -> Path:
    write_json(folder / "config.json", {"seen": seen and seen.model_dump(mode="json")})
    return folder


def test_what_was_seen_holds_no_name_and_every_scan(store: CaseStore) -> None:
    seen = seen_in(store, ["anna_a", "bert_a"])
    assert seen.patients == tuple(sorted(map(patient_hash, ("anna", "bert"))))
    assert "anna" not in seen.model_dump_json()
    assert len(seen.scans) == 4, "a hash of the file and one of the voxels, for each"
    assert seen.complete


def test_a_patient_is_found_by_name_in_another_store(store: CaseStore, tmp_path: Path) -> None:
    other = cohort(tmp_path, {"anna": 7, "dora": 8})
    folder = weights(tmp_path / "w", seen_in(store, store.ids))
    with pytest.raises(DataError, match=r"learned from.*anna, by name.*same split\.test"):
        check_unseen(folder, other, ["anna_a", "dora_a"])
    assert check_unseen(folder, other, ["dora_a"]) == []
    assert check_unseen(folder, other, ["anna_a"], other_cohort=True) == []


def test_a_patient_is_found_by_the_scan_under_another_name_and_spacing(
    store: CaseStore, tmp_path: Path
) -> None:
    """The copy is packed in another way, its axes are turned, and it is prepared otherwise."""
    other = cohort(tmp_path, {"x1": 1, "x2": 9}, spacing=5.0)
    folder = weights(tmp_path / "w", seen_in(store, store.ids))
    for stranger in (False, True):
        with pytest.raises(DataError, match="x1, by the scan"):
            check_unseen(folder, other, other.ids, other_cohort=stranger)
    assert list(seen_cases(seen_in(store, store.ids), other, other.ids)) == ["x1_a"]


def test_the_hash_of_a_scan_is_of_its_voxels(tmp_path: Path) -> None:
    array = scan(3)
    one = write_volume(tmp_path / "one.nii.gz", array, GRID)
    image = nibabel.load(one)  # pyright: ignore[reportPrivateImportUsage]
    turned = nibabel.as_closest_canonical(image)  # pyright: ignore[reportPrivateImportUsage]
    flipped = turned.slicer[::-1, :, ::-1]
    whole = nibabel.Nifti1Image(  # pyright: ignore[reportPrivateImportUsage]
        np.asarray(flipped.dataobj).astype(np.int16), flipped.affine
    )
    nibabel.save(whole, tmp_path / "two.nii")  # pyright: ignore[reportPrivateImportUsage]
    first, second = read_volume(one), read_volume(tmp_path / "two.nii")
    assert not np.array_equal(first.array, second.array)
    assert hash_of_scan(first) == hash_of_scan(second)
    changed = array.copy()
    changed[4, 4, 4] += 1
    assert hash_of_scan(Volume(changed, GRID)) != hash_of_scan(Volume(array, GRID))
    assert hash_of_scan(Volume(array[:, ::-1], GRID)) != hash_of_scan(Volume(array, GRID))


def test_labels_are_no_scans(tmp_path: Path) -> None:
    """Two patients without a node have the same empty label."""
    label = write_volume(tmp_path / "empty.nii.gz", np.zeros(GRID.shape, np.uint8), GRID)
    cases = [
        Case(name, name, {"ct": write_volume(tmp_path / f"{name}.nii.gz", scan(n), GRID)}, label)
        for n, name in enumerate("ab")
    ]
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    made = prepare(manifest, tmp_path / "store", validate(PrepareSettings, {}))
    assert seen_cases(seen_in(made, ["a"]), made, ["b"]) == {}


def test_a_store_of_before_is_known_by_its_files(store: CaseStore) -> None:
    whole = seen_in(store, ["cleo_a"])
    for row in store.rows.values():
        row.pop("scans")
    store["cleo_a"].about.pop("scans")
    before = seen_in(store, ["cleo_a"])
    assert len(before.scans) == 1
    assert set(before.scans) < set(whole.scans)


def test_what_is_not_known_is_said(store: CaseStore, tmp_path: Path) -> None:
    (line,) = check_unseen(weights(tmp_path / "w", None), store, store.ids)
    assert "not fully known" in line
    part = together(seen_in(store, ["anna_a"]), None)
    assert not part.complete
    folder = weights(tmp_path / "p", part)
    assert len(check_unseen(folder, store, ["bert_a"])) == 1
    with pytest.raises(DataError, match="anna"):
        check_unseen(folder, store, ["anna_a"])
    with pytest.raises(CheckpointError, match=r"must hold config\.json"):
        check_unseen(tmp_path / "nowhere", store, ["bert_a"])


def test_together_is_all_of_all(store: CaseStore) -> None:
    one, other = seen_in(store, ["anna_a"]), seen_in(store, ["bert_a"])
    assert together(one, other) == seen_in(store, ["anna_a", "bert_a"])
    unknown = one.model_copy(update={"complete": False})
    assert not together(unknown, other).complete
