"""A sheet of patches shows the store with a run's settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilum.core.errors import SettingsError, StoreError
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.preview_store import PreviewSettings, preview_store
from hilum.finetune.settings import FinetuneSettings

SIDES: IntTriple = (24, 26, 28)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One labelled pair, and one unlabelled CT alone."""
    folder = tmp_path_factory.mktemp("cohort")
    grid = Grid.from_spacing(SIDES, (3, 2, 2))
    generator = np.random.default_rng(0)
    label = np.zeros(SIDES, np.uint8)
    label[10:13, 12:15, 13:16] = 1
    for name in ("a", "b"):
        ct = generator.normal(40, 30, SIDES).astype(np.float32)
        write_volume(folder / f"{name}_ct.nii", ct, grid)
    write_volume(
        folder / "a_pet.nii", label * 5.0 + 0.5 * np.random.default_rng(1).random(SIDES), grid
    )
    write_volume(folder / "a_label.nii", label, grid)
    rows = ["case,ct,pet,label", "a,a_ct.nii,a_pet.nii,a_label.nii", "b,b_ct.nii,,"]
    (folder / "manifest.csv").write_text("\n".join(rows))
    settings = validate(PrepareSettings, {"body_crop": False})
    return prepare(folder / "manifest.csv", folder / "store", settings).path


def sheet(store: Path, file: Path, **changes: object) -> np.ndarray:
    settings = validate(PreviewSettings, {"patch": (8, 10, 12), "samples": 4, **changes})
    return np.asarray(Image.open(preview_store(store, file, settings)))


def test_a_sheet_has_a_row_per_sample_and_marks_nodes(store: Path, tmp_path: Path) -> None:
    four = sheet(store, tmp_path / "4.png")
    two = sheet(store, tmp_path / "2.png", samples=2)
    assert four.shape[0] > 1.7 * two.shape[0]
    orange = (four == (255, 176, 0)).all(-1)
    assert orange.any(), "two in three patches lie on a node"


def test_the_same_settings_draw_the_same_sheet(store: Path, tmp_path: Path) -> None:
    one, two = (sheet(store, tmp_path / f"{i}.png") for i in range(2))
    assert (one == two).all()
    assert (one != sheet(store, tmp_path / "other.png", seed=1)).any()
    assert (one != sheet(store, tmp_path / "plain.png", augment=False)).any()


def test_a_cohort_without_labels_can_be_looked_at(store: Path, tmp_path: Path) -> None:
    picture = sheet(store, tmp_path / "ct.png", modalities=("ct",), foreground=0.0)
    assert not (picture == (255, 176, 0)).all(-1).all()


def test_names_and_defaults_are_those_of_fine_tuning() -> None:
    theirs = FinetuneSettings.model_fields
    for name in ("patch", "foreground", "seed", "modalities", "augmentation"):
        one, other = (
            f.get_default(call_default_factory=True)
            for f in (PreviewSettings.model_fields[name], theirs[name])
        )
        assert one == other, name


def test_bad_input_is_one_clear_error(store: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown modality"):
        sheet(store, tmp_path / "x.png", modalities=("ctt",))
    with pytest.raises(StoreError, match=r"store\.json"):
        sheet(tmp_path, tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()
