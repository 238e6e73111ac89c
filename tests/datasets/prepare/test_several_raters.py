"""A case of several raters is prepared with one label, what each said, and the shares of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.settings import LoadingSettings, PatchSettings
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.raters.fusing import fuse
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.raters import raters_of

from ...raters_of_one import three_raters

SIDES = (20, 24, 28)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return three_raters(tmp_path_factory.mktemp("raters"))


def prepared(manifest: Path, out: Path, how: str) -> CaseStore:
    settings = validate(PrepareSettings, {"spacing": (4, 4, 4), "body_crop": False, "raters": how})
    return prepare(manifest, out, settings)


@pytest.fixture(scope="module")
def stores(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaseStore]:
    place = tmp_path_factory.mktemp("stores")
    return {how: prepared(manifest, place / how, how) for how in ("staple", "majority", "mean")}


def test_the_manifest_keeps_the_raters(manifest: Path, tmp_path: Path) -> None:
    cases = read_manifest(manifest)
    assert [list(case.raters) for case in cases] == [["anna", "ben", "carl"]] * 2 + [[]]
    assert [case.labelled for case in cases] == [True] * 3
    again = read_manifest(write_manifest(tmp_path / "again.csv", cases))
    assert again == cases


def test_the_label_is_what_raters_are_together(stores: dict[str, CaseStore]) -> None:
    for how, store in stores.items():
        case = store["a"]
        said = raters_of(case)
        assert list(said) == ["anna", "ben", "carl"]
        masks = np.stack(list(said.values()))
        assert len(np.unique(masks.reshape(3, -1), axis=1).T) > 3
        np.testing.assert_array_equal(np.asarray(case.label), fuse(masks, how))  # pyright: ignore[reportArgumentType]
        assert raters_of(store["alone"]) == {}
    label = {how: np.asarray(store["a"].label) for how, store in stores.items()}
    np.testing.assert_array_equal(label["mean"], label["majority"])
    assert (label["staple"] != label["majority"]).any()


@pytest.mark.parametrize("augment", [False, True])
def test_patches_carry_the_shares_of_the_answers(
    augment: bool, stores: dict[str, CaseStore]
) -> None:
    store = stores["mean"]
    settings = validate(AugmentationSettings, {} if augment else _STILL)
    patches = PatchSettings((12, 12, 12), foreground=1.0, soft=True)
    data = PatchData(
        store, ["a", "alone"], ["a"], loading=LoadingSettings(patches, 4, steps=1, seed=0),
        augmentation=PairedAugmentation(store.modalities, (12, 12, 12), store.spacing, settings),
    )  # fmt: skip
    batch: Any = next(iter(data.train_dataloader()))
    assert set(batch["case"]) == {"a", "alone"}
    tables, labels = batch["targets"].numpy(), batch["label"].numpy()[:, 0]
    masks = np.stack(list(raters_of(store["a"]).values()))
    possible = np.unique(np.mean(masks == 1, 0))
    seen = set()
    for name, table, label in zip(batch["case"], tables, labels, strict=True):
        share = table[label]
        np.testing.assert_allclose(share.sum(-1), 1, atol=1e-6)
        seen |= {round(float(v), 4) for v in np.unique(share[..., 1])}
        if name == "alone":
            assert set(np.unique(share)) <= {0.0, 1.0}
    assert seen == {round(float(v), 4) for v in possible}
    assert len(seen) > 2
    # Validation compares with one class each.
    held: Any = next(iter(data.val_dataloader()))
    assert "targets" not in held
    assert held["label"].max() == 1


_STILL = {
    "rotation": {"p": 0, "low": 0, "high": 0},
    "scale": {"p": 0, "low": 1, "high": 1},
    "mirror": (0, 0, 0),
}


def test_raters_on_different_grids_are_refused(manifest: Path, tmp_path: Path) -> None:
    case = read_manifest(manifest)[0]
    other = Grid.from_spacing((10, 12, 14), (8.0, 8.0, 8.0))
    file = write_volume(tmp_path / "ben.nii.gz", np.ones((10, 12, 14), np.uint8), other)
    wrong = replace(case, raters={**case.raters, "ben": file})
    path = write_manifest(tmp_path / "manifest.csv", [wrong])
    with pytest.raises(DataError, match="label of ben must lie on the grid of the first rater"):
        prepared(path, tmp_path / "store", "staple")


def test_a_label_of_its_own_counts_and_raters_stay_beside_it(
    manifest: Path, tmp_path: Path
) -> None:
    case = read_manifest(manifest)[0]
    both = replace(case, label=case.raters["carl"])
    store = prepared(
        write_manifest(tmp_path / "manifest.csv", [both]), tmp_path / "store", "staple"
    )
    np.testing.assert_array_equal(np.asarray(store["a"].label), raters_of(store["a"])["carl"])
    assert list(raters_of(store["a"])) == ["anna", "ben", "carl"]


def test_a_column_must_name_its_rater(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("case,ct,label_\na,ct.nii.gz,b.nii.gz\n")
    with pytest.raises(DataError, match=r"must name a rater.*label_anna"):
        read_manifest(tmp_path / "m.csv")


def test_case_knows_its_files() -> None:
    file = Path("x")
    assert Case("a", "a", {"ct": file}, raters={"b": file}).files == {"ct": file, "label_b": file}
