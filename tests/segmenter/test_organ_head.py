"""A network that learns organs predicts nodes as before: organs are part of the background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.case import Case
from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.datasets.batch import Batch
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.organs import NO_ORGANS
from hilum.finetune.module import FinetuneModule
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.organ_head import folded
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]


def test_probabilities_of_the_classes_stay_and_the_background_takes_the_rest() -> None:
    logits = 5 * torch.randn((2, 5, 3, 4, 5), generator=torch.Generator().manual_seed(0))
    full, found = logits.softmax(1), folded(logits, 3).softmax(1)
    assert_close(found[:, 1:], full[:, 1:3])
    assert_close(found[:, 0], full[:, 0] + full[:, 3:].sum(1))
    assert folded(logits, 5) is logits


@pytest.mark.parametrize("fusion", ["early", "late", "cross_attention"])
def test_a_segmenter_with_organs_gives_the_classes_alone(
    fusion: str, config: Make, store: CaseStore, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(config(organs=3, fusion={"name": fusion})).eval()
    image, available = torch.rand(1, 2, 8, 12, 16), torch.ones(1, 2, dtype=torch.bool)
    assert [level.shape[1] for level in segmenter(image, available)] == [2, 2]
    assert [level.shape[1] for level in segmenter(image, available, organs=True)] == [5, 5]
    probability = predict_case(segmenter, store["case_4"], precision="32")
    assert len(probability) == 2
    np.testing.assert_allclose(probability.sum(0), 1, atol=1e-5)
    again = Segmenter.from_pretrained(segmenter.save(tmp_path / "s"))
    assert_close(again(image, available)[0], segmenter(image, available)[0])


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "patch": (8, 12, 16),
        "trainer": {
            "steps": 2,
            "batch_size": 1,
            "log_every": 1,
            "precision": "32",
            "tracking": {"mode": "disabled"},
        },
        "organs": {"numbers": (5, 9)},
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
    }
    return validate(FinetuneSettings, values | changes)


def test_a_case_without_organs_teaches_nodes_only(
    store: CaseStore, config: Make, tmp_path: Path
) -> None:
    """Its background may be any organ: the organ loss must not push it to either."""
    segmenter = Segmenter(config(organs=2))
    module = FinetuneModule(segmenter, settings(store), store, tmp_path)
    image, available = torch.rand(1, 2, 8, 12, 16), torch.ones(1, 2, dtype=torch.bool)

    def terms(background: int) -> dict[str, float]:
        label = torch.full((1, 1, 8, 12, 16), background, dtype=torch.uint8)
        batch: Batch = {"image": image, "available": available, "label": label}  # pyright: ignore[reportAssignmentType]
        loss, named = module._loss(batch, 0)
        return {"loss": float(loss.detach()), **{k: float(v) for k, v in named.items()}}

    without, plain, organ = terms(NO_ORGANS), terms(0), terms(2)
    assert without["organ_loss"] == 0
    assert plain["organ_loss"] > 0
    assert organ["organ_loss"] > plain["organ_loss"], "the first bias says background"
    assert without["cross_entropy"] == plain["cross_entropy"] == organ["cross_entropy"]
    weighted = 0.3 * organ["organ_loss"]
    assert organ["loss"] - weighted == pytest.approx(without["loss"], abs=1e-5)


@pytest.mark.slow
def test_a_run_learns_organs_that_the_manifest_names(manifest: Path, tmp_path: Path) -> None:
    cases = []
    for case in read_manifest(manifest):
        label = read_label(case.label or "")
        organs = np.zeros(label.array.shape, np.uint8)
        organs[:8], organs[8:14, :12] = 5, 9
        file = write_volume(tmp_path / case.id / "organs.nii.gz", organs, label.grid)
        cases.append(Case(**{**vars(case), "anatomy": file}))
    how = validate(PrepareSettings, {"spacing": (4, 4, 4), "modalities": ("ct", "pet")})
    store = prepare(write_manifest(tmp_path / "m.csv", cases), tmp_path / "store", how)
    folder = finetune(settings(store), tmp_path / "run", say=lambda text: None)
    segmenter = Segmenter.from_pretrained(folder)
    assert (segmenter.classes, segmenter.config.organs) == (2, 2)
    assert "train/organ_loss" in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert (tmp_path / "run" / "test" / "cohort.json").is_file()


def test_an_organ_is_named_once_and_by_a_number_that_fits(store: CaseStore) -> None:
    for numbers in ((5, 5), (0,), (300,)):
        with pytest.raises(SettingsError, match="each organ must be a number from 1 to 255"):
            settings(store, organs={"numbers": numbers})
