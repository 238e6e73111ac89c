"""What was pretrained on z-scores is fine-tuned on them: patches, teacher, validation, folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import DataError, SettingsError
from hilum.core.input_scale import scale_of
from hilum.core.modality import modality
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import AugmentationSettings, PairedAugmentation
from hilum.datasets.batch import Batch, collate
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders import ENCODERS
from hilum.finetune.ready import parts_of
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised.unlabelled import unlabelled_patches
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.transfer.sources import read_start
from hilum.segmenter.segmenter import Segmenter

from ...tiny_cohort import ENCODER, SPACING

PATCH = (32, 32, 32)  # larger than any case: each patch holds a whole one


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    encoder: nn.Module = build(ENCODERS, ENCODER, in_channels=2)
    values = {
        "architecture": ENCODER,
        "modalities": ("ct", "pet"),
        "spacing": SPACING,
        "patch": PATCH,
        "intensity": {"ct": scale_of("ct"), "pet": scale_of("pet", "zscore")},
    }
    return save_encoder(tmp_path / "encoder", encoder, validate(EncoderConfig, values))


def settings(store: CaseStore, start: Path, **changes: Any) -> FinetuneSettings:
    trainer = {"steps": 1, "batch_size": 2, "validate_every": 1, "precision": "32"}
    values = {
        "store": str(store.path),
        "init_from": str(start),
        "patch": PATCH,
        "split": {"labels": 2, "validation": 1},
        "trainer": trainer | {"tracking": {"mode": "disabled"}},
        "augmentation": AugmentationSettings.none().model_dump(),
        "validate_on": "patches",
        "pictures": 0,
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values | changes)


def check(batch: Batch, store: CaseStore) -> None:
    """Compare each sample with its whole volumes, value by value in order of size."""
    for image, regions, name in zip(batch["image"], batch["regions"], batch["case"], strict=True):
        case = store[name]
        for channel, of in enumerate(("ct", "pet")):
            row = case.modalities.index(of)
            seen = np.asarray(case.regions) & (2 << row) > 0
            volume = np.asarray(case.images[row], np.float64)[seen]
            zscore = (volume - volume.mean()) / volume.std()
            truth = zscore if of == "pet" else modality("ct").encode(volume)
            inside = (regions[0] & (2 << channel)) > 0
            assert_allclose(np.sort(image[channel][inside]), np.sort(truth), rtol=0, atol=1e-5)
            assert of == "ct" or not image[channel][~inside].any()


def test_every_patch_of_a_run_is_scaled_by_its_whole_volume(
    pretrained: Path, store: CaseStore
) -> None:
    chosen = settings(store, pretrained, teacher={"weight": 0.1})
    module, data = parts_of(chosen)
    assert module.segmenter.config.zscored == ("pet",)
    (early,) = list(data.train_dataloader())
    assert early.get("augmented")
    check(early, store)
    (validation, *_) = list(cast(PatchLoader, data.val_dataloader()))
    assert not validation.get("augmented")
    check(module.augmentation(validation, False), store)
    split = make_split(store, chosen.split)
    late = unlabelled_patches(store, split, chosen, ("ct", "pet"), ("pet",))
    batch = next(iter(late.train_dataloader()))
    assert module.teacher is not None
    check(module.teacher.strong(batch), store)
    check(module.teacher.weak(batch), store)


def test_a_patch_without_its_volumes_moments_is_refused(store: CaseStore) -> None:
    augmentation = PairedAugmentation(("ct", "pet"), PATCH, SPACING, None, ("pet",))
    dataset = PatchDataset(store, store.ids[:1], PatchSettings(PATCH, ("ct", "pet")), 1, 0)
    with pytest.raises(DataError, match="mean and the deviation"):
        augmentation(collate([dataset[0]]), False)


def test_tone_is_about_the_mean_and_does_not_saturate(store: CaseStore) -> None:
    drawn = {"p": 1.0, "low": 1.5, "high": 1.5}
    chosen = AugmentationSettings.none(contrast=drawn, brightness=drawn | {"low": 0.2, "high": 0.2})
    names = ("ct", "pet")
    patches = PatchSettings(PATCH, names, zscored=names)
    batch = collate([PatchDataset(store, store.ids[:1], patches, 1, 0)[0]])
    plain, changed = (
        PairedAugmentation(names, PATCH, SPACING, rule, names)(batch)["image"]
        for rule in (AugmentationSettings.none(), chosen)
    )
    inside = (batch["regions"] & 2) > 0
    torch.testing.assert_close(
        changed[:, :1][inside], plain[:, :1][inside] * 1.5 + 0.2, rtol=0, atol=1e-4
    )


def test_the_segmenter_folder_of_a_run_keeps_the_scale(
    pretrained: Path, store: CaseStore, tmp_path: Path
) -> None:
    folder = finetune(settings(store, pretrained), tmp_path / "run", say=lambda text: None)
    assert Segmenter.from_pretrained(folder).config.zscored == ("pet",)
    (source,) = read_start(folder).sources
    assert source.about.intensity["pet"] == scale_of("pet", "zscore")


def test_a_setting_says_otherwise_and_the_report_tells(pretrained: Path, store: CaseStore) -> None:
    lines: list[str] = []
    module, _ = parts_of(settings(store, pretrained, scale={"pet": "window", "ct": "zscore"}))
    assert module.segmenter.config.zscored == ("ct",)
    chosen = settings(store, pretrained, scale={"pet": "window"})
    finetune(chosen, pretrained.parent / "other", say=lines.append)
    assert any("scale of pet was zscore, now log" in line for line in lines)
    with pytest.raises(SettingsError, match="scale must name a modality"):
        parts_of(settings(store, pretrained, scale={"mr": "zscore"}))
