"""Preparing a cohort carries on where it stopped, and bad cases stop nobody else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hilum.core.case import Case
from hilum.core.errors import DataError, RunError, StoreError
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import read_volume, write_volume
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare import run as module
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore

GRID = Grid.from_spacing((6, 9, 11), (4, 3, 3))
Maker = Callable[..., Case]


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Return a maker of small cases; the same id again overwrites its files."""

    def case(name: str, pet: float = 1.0, split: str = "train") -> Case:
        folder = tmp_path / "räw files" / name
        ct = np.full(GRID.shape, -1000, np.float32)
        ct[:, 2:8, 2:10] = 40
        activity = np.where(ct > 0, np.float32(pet), np.float32(0))
        label = np.zeros(GRID.shape, np.uint8)
        label[2:4, 4:6, 5:8] = 1
        volumes = {"ct": folder / "ct.nii.gz", "pet": folder / "pet.nii.gz"}
        write_volume(volumes["ct"], ct, GRID)
        write_volume(volumes["pet"], activity, GRID)
        write_volume(folder / "label.nii.gz", label, GRID)
        return Case(name, f"p-{name}", volumes, folder / "label.nii.gz", split=split)

    return case


def cohort(tmp_path: Path, *cases: Case) -> Path:
    write_manifest(tmp_path / "manifest.csv", cases)
    return tmp_path / "manifest.csv"


def written(store: Path) -> dict[str, int]:
    return {path.parent.name: path.stat().st_ino for path in store.glob("*/case.json")}


def test_a_cohort_becomes_a_store(make: Maker, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    manifest = cohort(tmp_path, make("a"), make("b", split="test"))
    store = prepare(
        manifest, tmp_path / "store", PrepareSettings(), progress=lambda *x: seen.append(x)
    )
    assert seen == [(1, 2, "a"), (2, 2, "b")]
    assert store.ids == ["a", "b"]
    assert (store.modalities, store.spacing, store.classes) == (("ct", "pet"), (4, 3, 3), 2)
    assert (store["b"].patient, store["b"].split) == ("p-b", "test")
    assert [node["voxels"] for node in store["a"].nodes] == [12]


def test_the_same_command_again_does_nothing(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("b"))
    first = prepare(manifest, tmp_path / "store", PrepareSettings())
    before = written(first.path)
    again = prepare(manifest, tmp_path / "store", PrepareSettings())
    assert written(again.path) == before
    assert again.fingerprint == first.fingerprint


def test_only_a_changed_case_is_done_again(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("b"))
    first = prepare(manifest, tmp_path / "store", PrepareSettings())
    before = written(first.path)
    make("b", pet=3.0)
    second = prepare(manifest, tmp_path / "store", PrepareSettings())
    assert second.fingerprint != first.fingerprint
    after = written(second.path)
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
    assert second["b"].images[1].max() == 3


def test_files_that_were_only_touched_are_not_prepared_again(make: Maker, tmp_path: Path) -> None:
    case = make("a")
    manifest, file = cohort(tmp_path, case), case.volumes["ct"]
    prepare(manifest, tmp_path / "store", PrepareSettings())
    before = written(tmp_path / "store")
    os.utime(file)
    prepare(manifest, tmp_path / "store", PrepareSettings())
    assert written(tmp_path / "store") == before
    # Same size and time: taken for the same without being read.
    about = file.stat()
    file.write_bytes(b"x" * about.st_size)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    prepare(manifest, tmp_path / "store", PrepareSettings())
    assert written(tmp_path / "store") == before


def test_a_store_of_many_spacings_goes_by_the_usual_one(make: Maker, tmp_path: Path) -> None:
    cases = [make(name) for name in "abc"]
    coarse = Grid.from_spacing(GRID.shape, (9, 3, 3))
    for name, file in cases[0].volumes.items():
        write_volume(file, read_volume(cases[0].volumes[name]).array, coarse)
    write_volume(tmp_path / "l.nii.gz", np.ones(GRID.shape, np.uint8), coarse)
    cases[0] = replace(cases[0], label=tmp_path / "l.nii.gz")
    store = prepare(cohort(tmp_path, *cases), tmp_path / "store", PrepareSettings())
    assert store["a"].grid.spacing == pytest.approx((9, 3, 3))
    assert store.spacing == pytest.approx((4, 3, 3))


def test_a_bad_case_is_named_and_the_others_are_done(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("hot", pet=40_000), make("c"))
    with pytest.raises(DataError, match=r"2 of 3 are prepared.*(?s:.*)case hot: .*pet.*Bq/ml"):
        prepare(manifest, tmp_path / "store", PrepareSettings())
    assert set(written(tmp_path / "store")) == {"a", "c"}
    with pytest.raises(StoreError, match="hilum prepare"):
        CaseStore(tmp_path / "store")
    make("hot")
    assert prepare(manifest, tmp_path / "store", PrepareSettings()).ids == ["a", "hot", "c"]


def test_bad_cases_can_be_left_out_but_not_all(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("hot", pet=40_000))
    assert prepare(manifest, tmp_path / "store", PrepareSettings(), skip_bad=True).ids == ["a"]
    manifest = cohort(tmp_path, make("hot", pet=40_000))
    with pytest.raises(DataError, match="0 of 1 are prepared"):
        prepare(manifest, tmp_path / "other", PrepareSettings(), skip_bad=True)


def test_an_index_never_vouches_for_cases_that_changed_since(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("b"))
    prepare(manifest, tmp_path / "store", PrepareSettings())
    make("a", pet=2.0)
    make("b", pet=40_000)
    with pytest.raises(DataError, match="case b"):
        prepare(manifest, tmp_path / "store", PrepareSettings())
    with pytest.raises(StoreError, match=r"store\.json"):
        CaseStore(tmp_path / "store")


def test_an_interruption_leaves_whole_cases_only_and_the_same_command_carries_on(
    make: Maker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = cohort(tmp_path, make("a"), make("b"))
    real = module.prepare_case

    def interrupted(case: Case, settings: PrepareSettings) -> object:
        if case.id == "b":
            raise KeyboardInterrupt
        return real(case, settings)

    with monkeypatch.context() as patch:
        patch.setattr(module, "prepare_case", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(manifest, tmp_path / "store", PrepareSettings())
    found = {path.name for path in (tmp_path / "store").iterdir()}
    assert found == {".hilum.json", "prepare.json", "a"}
    assert prepare(manifest, tmp_path / "store", PrepareSettings()).ids == ["a", "b"]


def test_a_folder_with_other_things_is_left_alone(make: Maker, tmp_path: Path) -> None:
    case = make("a")
    manifest = cohort(tmp_path, case)
    raw = case.volumes["ct"].parent.parent
    with pytest.raises(RunError, match="new or empty folder"):
        prepare(manifest, raw, PrepareSettings())
    assert case.volumes["ct"].exists()
    prepare(manifest, tmp_path / "store", PrepareSettings())
    with pytest.raises(StoreError, match="other settings"):
        prepare(manifest, tmp_path / "store", PrepareSettings(margin_mm=1))


def test_a_store_keeps_fewer_files_open_than_a_process_may(make: Maker, tmp_path: Path) -> None:
    store = prepare(cohort(tmp_path, make("a")), tmp_path / "store", PrepareSettings())
    cases = store._case.cache_info().maxsize
    assert cases is not None
    assert 3 * cases < 0.75 * 1024


@pytest.mark.slow
def test_several_workers_write_the_same_store(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("hot", pet=40_000), make("c"))
    stores = [
        prepare(manifest, tmp_path / f"store{n}", PrepareSettings(), n, skip_bad=True)
        for n in (1, 2)
    ]
    one, two = (json.loads((store.path / "store.json").read_text()) for store in stores)
    assert one == two
    for name in stores[0].ids:
        assert_array_equal(stores[0][name].images, stores[1][name].images)
        assert_array_equal(stores[0][name].foreground.points, stores[1][name].foreground.points)


def test_a_bad_case_that_is_left_out_stops_nobody_and_is_noted(make: Maker, tmp_path: Path) -> None:
    manifest = cohort(tmp_path, make("a"), make("b"), make("c", pet=1e6))
    said: list[str] = []
    with pytest.raises(DataError, match=r"leave them out: --leave-out c$"):
        prepare(manifest, tmp_path / "store", PrepareSettings())
    store = prepare(
        manifest, tmp_path / "store", PrepareSettings(), leave_out=["c"], say=said.append
    )
    assert store.ids == ["a", "b"]
    assert store.about["left_out"] == {"c": "as asked for"}
    assert said[0] == "left out, as asked for: c; store.json notes it"
    with pytest.raises(DataError, match=r"must be in the manifest, found 'C'"):
        prepare(manifest, tmp_path / "store", PrepareSettings(), leave_out=["C"])
    with pytest.raises(DataError, match="some case must be left"):
        prepare(manifest, tmp_path / "store", PrepareSettings(), leave_out=["a", "b", "c"])
