"""Patches for one's own loop: new ones each epoch, on a network's scale, fixed to validate."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, DistributedSampler

import hilum
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.modality import modality
from hilum.core.settings import validate
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.batch import collate
from hilum.datasets.loading.own_network import Epochs, Patches, PatchesData
from hilum.datasets.splits import SplitSettings, make_split
from hilum.datasets.store.case_store import CaseStore

from ...tiny_cohort import manifest, store  # noqa: F401

SIDES = (8, 12, 16)


def epoch(patches: Patches, workers: int = 0, persistent: bool = False) -> list[int]:
    loader = DataLoader(
        patches, batch_size=4, num_workers=workers, collate_fn=collate, shuffle=True,
        persistent_workers=persistent,
    )  # fmt: skip
    return [seed for batch in loader for seed in batch["seed"].tolist()]


def test_each_epoch_draws_anew_and_a_seed_repeats_it(store: CaseStore) -> None:  # noqa: F811
    patches = Patches(store, patch=SIDES, length=8)
    torch.manual_seed(1)
    first, second = epoch(patches), epoch(patches)
    assert len({*first, *second}) == 16
    torch.manual_seed(1)
    assert epoch(patches) == first
    workers = [epoch(patches, workers=2) for _ in range(2)]
    assert len({seed for seeds in workers for seed in seeds}) == 16


def own_epochs(patches: Patches, workers: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """Return what three epochs of one loader draw, in PyTorch's own way."""
    sampler = DistributedSampler(patches, world, rank, shuffle=True)
    loader = DataLoader(
        patches, batch_size=2, num_workers=workers, collate_fn=collate, sampler=sampler,
        persistent_workers=bool(workers),
    )  # fmt: skip
    found = []
    for number in range(3):
        sampler.set_epoch(number)
        patches.set_epoch(number)
        found.append([seed for batch in loader for seed in batch["seed"].tolist()])
    return found


def test_an_epoch_is_a_function_of_its_number_for_any_workers_and_processes(
    store: CaseStore,  # noqa: F811
) -> None:
    patches = Patches(store, patch=SIDES, length=8, augmentation=validate(AugmentationSettings, {}))
    alone = own_epochs(patches, 0)
    assert len({seed for seeds in alone for seed in seeds}) == 24, "new ones each epoch"
    assert own_epochs(patches, 2) == alone, "workers that persist hear of each epoch"
    one, two = (own_epochs(patches, 0, rank, 2) for rank in range(2))
    for whole, first, second in zip(alone, one, two, strict=True):
        assert sorted(whole) == sorted([*first, *second])
    patches.set_epoch(1)
    image = patches[3]["image"]
    patches.set_epoch(2)
    assert not torch.equal(patches[3]["image"], image)
    patches.set_epoch(1)
    assert torch.equal(patches[3]["image"], image)
    other = Patches(store, patch=SIDES, length=8, seed=1)
    other.set_epoch(1)
    assert other[3]["seed"] != patches[3]["seed"]
    with pytest.raises(SettingsError, match="0 or more"):
        patches.set_epoch(-1)


def test_values_are_on_the_scale_of_a_network_unless_physical_ones_are_asked_for(
    store: CaseStore,  # noqa: F811
) -> None:
    network = Patches(store, ["case_0"], patch=SIDES, length=4, fixed=True)[0]
    physical = Patches(store, ["case_0"], patch=SIDES, length=4, fixed=True, physical=True)[0]
    assert network["image"].dtype == torch.float32
    assert physical["image"].dtype == torch.float16
    inside = (physical["regions"][0] & 1).bool()
    for channel, name in enumerate(("ct", "pet")):
        expected = modality(name).encode(physical["image"][channel].float())
        assert torch.allclose(network["image"][channel][inside], expected[inside], atol=1e-3)
    assert torch.equal(network["label"], physical["label"])
    changes = validate(AugmentationSettings, {})
    with pytest.raises(SettingsError, match="not physical"):
        Patches(store, patch=SIDES, physical=True, augmentation=changes)


def test_a_share_of_the_patches_lies_on_nodes(store: CaseStore) -> None:  # noqa: F811
    patches = Patches(store, patch=SIDES, length=20, foreground=0.5)
    on_node = sum(bool((patches[i]["label"] == 1).any()) for i in range(20))
    assert on_node >= 10


def test_test_patients_are_in_no_loader(store: CaseStore) -> None:  # noqa: F811
    split = validate(SplitSettings, {"validation": 1})
    data = PatchesData(store, split, patch=SIDES, length=12, validation_length=4)
    made = make_split(store, split)
    seen = {name for batch in data.train_dataloader() for name in batch["case"]}
    loader = data.val_dataloader()
    assert isinstance(loader, DataLoader)
    one, two = ([b["seed"].tolist() for b in loader] for _ in range(2))
    assert one == two
    assert seen <= set(made.train)
    assert not seen & {*made.test, *made.validation}


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")  # Lightning, of torch
def test_any_lightning_module_trains_on_it(
    store: CaseStore,  # noqa: F811
    tmp_path: Path,
) -> None:
    class Own(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Conv3d(2, 1, 1)

        def training_step(self, batch: dict, index: int) -> torch.Tensor:
            drawn.append(tuple(batch["seed"].tolist()))
            known = batch["label"] != 255
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                self.net(batch["image"]), (batch["label"] == 1).float(), reduction="none"
            )
            return loss[known].mean()

        def validation_step(self, batch: dict, index: int) -> None:
            """Do nothing."""

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    drawn: list[tuple[int, ...]] = []
    data = hilum.PatchesData(store.path, patch=SIDES, length=4)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
        limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(Own(), data)
    assert trainer.global_step == 4
    assert len({seed for pair in drawn for seed in pair}) == 8, "Lightning's epochs differ"
    sampler = Epochs(data.training)
    sampler.set_epoch(1)
    assert [data.training[i]["seed"] for i in sampler] == [s for pair in drawn[2:] for s in pair]


def test_an_encoder_comes_out_of_its_folder(tmp_path: Path) -> None:
    from hilum.core.checkpoints import EncoderConfig, save_encoder
    from hilum.core.registry import build
    from hilum.encoders import ENCODERS

    spec = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
    encoder = build(ENCODERS, spec, in_channels=2).eval()
    about = {"architecture": spec, "modalities": ("ct", "pet"), "spacing": (4, 4, 4)}
    save_encoder(tmp_path / "e", encoder, validate(EncoderConfig, about | {"patch": SIDES}))
    again = hilum.read_encoder(tmp_path / "e")
    image = torch.randn(1, 2, *SIDES)
    assert torch.equal(again(image)[-1], encoder(image)[-1])
    again = hilum.Encoder.from_pretrained(tmp_path / "e")
    assert torch.equal(again(image)[-1], encoder(image)[-1])
    assert type(ENCODERS["resenc"].from_pretrained(tmp_path / "e")) is ENCODERS["resenc"]
    with pytest.raises(CheckpointError, match=r"hold a PlainconvEncoder.*found ResencEncoder"):
        ENCODERS["plainconv"].from_pretrained(tmp_path / "e")
