"""A run that was stopped anywhere goes on with exactly the batches that it would have seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import SettingsError, StoreError, UserError
from hilum.core.files import write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.batch import Batch
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.settings import LoadingSettings, PatchSettings
from hilum.datasets.store.case_store import (
    VERSION,
    CaseStore,
    PreparedCase,
    StoredCase,
    write_case,
)
from hilum.datasets.store.foreground import nodes_of
from hilum.datasets.store.index import index_row

# Lightning asks torch in a way that torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")

SIDES: IntTriple = (14, 16, 18)
PATCH: IntTriple = (6, 7, 8)
DRAWN = ("modalities", "foreground", "hard", "labelled")
READ = ("batch_size", "steps", "seed", "accumulate", "workers", "validation_batches")


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    rows = []
    for number in range(4):
        generator = np.random.default_rng(number)
        label = np.zeros(SIDES, np.uint8)
        if number < 3:
            label[4:7, 5:8, 3 + number : 9] = 1
        grid = Grid.from_spacing(SIDES, (3, 2, 2))
        case = PreparedCase(
            id=f"case {number}",
            patient=f"p{number}",
            site="",
            split="",
            images=generator.normal(0, 1, (2, *SIDES)).astype(np.float16),
            modalities=("ct", "pet"),
            regions=np.full(SIDES, 7, np.uint8),
            label=label,
            grid=grid,
            source_grid=grid,
            factors={"ct": 1.0, "pet": 1.0},
            inputs={},
        )
        write_case(tmp_path / case.id, case, *nodes_of(label, grid, case.id))
        rows.append(index_row(StoredCase(tmp_path / case.id).about))
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2], "classes": 2}
    write_json(tmp_path / "store.json", about | {"fingerprint": "f", "cases": rows})
    return CaseStore(tmp_path)


def data_of(store: CaseStore, **changes: Any) -> PatchData:
    given: dict[str, Any] = {"ids": store.ids[:2], "validation": store.ids[2:]}
    drawn = {name: changes.pop(name) for name in DRAWN if name in changes}
    read: dict[str, Any] = {"batch_size": 2, "steps": 5, "seed": 3}
    read |= {name: changes.pop(name) for name in READ if name in changes}
    loading = LoadingSettings(PatchSettings(PATCH, **drawn), **read)
    return PatchData(store, loading=loading, **(given | changes))


def seen(data: PatchData) -> list[Batch]:
    return list(data.train_dataloader())  # pyright: ignore[reportReturnType]


def same(some: Sequence[Batch], others: Sequence[Batch]) -> None:
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one["case"] == other["case"]
        for name, value in one.items():
            if isinstance(value, Tensor):
                assert torch.equal(value, other[name]), name  # pyright: ignore


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_rest_of_a_resumed_run_is_the_rest_of_the_run(
    store: CaseStore, workers: int, accumulate: int
) -> None:
    whole = seen(data_of(store, accumulate=accumulate))
    assert len(whole) == 5 * accumulate
    assert len({tuple(batch["seed"].tolist()) for batch in whole}) == len(whole)
    resumed = data_of(store, accumulate=accumulate, workers=workers)
    resumed.load_state_dict({"done": 2})
    assert resumed.state_dict() == {"done": 2}
    assert len(resumed.train_dataloader()) == len(whole), "Lightning counts from the start"
    same(seen(resumed), whole[2 * accumulate :])
    resumed.load_state_dict({"done": 5})
    assert not seen(resumed)


class Recorder(pl.LightningModule):
    """Note the batches of training and validation, and learn a number that depends on each."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_seeds: list[list[int]] = []
        self.validation_seeds: list[list[int]] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        self.train_seeds.append(batch["seed"].tolist())
        return (self.weight - batch["image"].float().mean()) ** 2

    def validation_step(self, batch: Batch, index: int) -> None:
        self.validation_seeds.append(batch["seed"].tolist())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopAfter(pl.Callback):
    """Save and stop after an optimiser step, as a run does that is asked to stop."""

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:  # pyright: ignore
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def trainer_of(accumulate: int, *callbacks: pl.Callback) -> pl.Trainer:
    return pl.Trainer(
        max_steps=5,
        max_epochs=1,
        accumulate_grad_batches=accumulate,
        val_check_interval=2 * accumulate,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.parametrize("stop", [1, 2, 4])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_lightning_resumes_in_the_middle_of_the_epoch(
    store: CaseStore, tmp_path: Path, accumulate: int, stop: int
) -> None:
    whole, first, second = Recorder(), Recorder(), Recorder()
    trainer_of(accumulate).fit(whole, datamodule=data_of(store, accumulate=accumulate))
    path = tmp_path / "last.ckpt"
    halves = [data_of(store, accumulate=accumulate) for _ in range(2)]
    trainer_of(accumulate, StopAfter(stop, path)).fit(first, datamodule=halves[0])
    trainer = trainer_of(accumulate)
    trainer.fit(second, datamodule=halves[1], ckpt_path=path, weights_only=True)
    assert trainer.global_step == 5
    assert len(first.train_seeds) == stop * accumulate
    assert first.train_seeds + second.train_seeds == whole.train_seeds
    assert_close(second.weight, whole.weight, rtol=0, atol=0)


class Place:
    """What a data module asks of Lightning's trainer in one of several processes."""

    def __init__(self, world: int, rank: int) -> None:
        self.world_size, self.global_rank = world, rank
        self.strategy = SingleDeviceStrategy(torch.device("cpu"))


def test_processes_share_each_step_without_overlap(store: CaseStore) -> None:
    whole = data_of(store, batch_size=4)
    whole.load_state_dict({"done": 2})
    shares = []
    for rank in (0, 1):
        share = data_of(store, batch_size=2)
        share.load_state_dict({"done": 2})
        share.trainer = Place(2, rank)  # pyright: ignore[reportAttributeAccessIssue]
        assert len(share.train_dataloader()) == 5, "Lightning counts from the start"
        shares.append(seen(share))
    for together, one, two in zip(seen(whole), *shares, strict=True):
        assert together["seed"][::2].tolist() == one["seed"].tolist()
        assert together["seed"][1::2].tolist() == two["seed"].tolist()


def test_validation_is_fixed_and_half_on_nodes(store: CaseStore) -> None:
    data = data_of(store, validation_batches=6)
    batches: list[Batch] = list(data.val_dataloader())  # pyright: ignore
    assert len(batches) == 6
    same(batches, list(data.val_dataloader()))  # pyright: ignore
    same(batches, list(data_of(store, validation_batches=6, seed=99).val_dataloader()))  # pyright: ignore
    assert {name for batch in batches for name in batch["case"]} == {"case 2", "case 3"}
    for batch in batches:
        assert "label" in batch
        assert batch["image"].shape[2:] == PATCH
        assert batch["label"].flatten(1).any(1).sum() >= 1
    cases = [name for batch in batches for name in batch["case"]]
    assert cases.count("case 3") == 3, "a case without nodes is seen as background"


def test_without_validation_cases_there_is_none(store: CaseStore) -> None:
    data = data_of(store, validation=())
    assert data.val_dataloader() == []
    model = Recorder()
    trainer_of(1).fit(model, datamodule=data)
    assert len(model.train_seeds) == 5
    assert not model.validation_seeds


def test_batches_feed_the_augmentation(store: CaseStore) -> None:
    augmentation = PairedAugmentation(store.modalities, PATCH, store.spacing)
    batch = seen(data_of(store, augmentation=augmentation))[0]
    result = augmentation(batch)
    assert result is batch, "it was augmented while it was read"
    assert "label" in result
    assert result["image"].shape == (2, 2, *PATCH)
    assert result["image"].dtype == torch.float32


def test_unlabelled_batches_hold_no_label(store: CaseStore) -> None:
    for batch in seen(data_of(store, labelled=False)):
        assert set(batch) == {"image", "available", "regions", "case", "seed", "host"}


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("file", ["images.npy", "foreground.npz"])
def test_a_bad_case_is_named_by_whoever_reads_it(store: CaseStore, workers: int, file: str) -> None:
    data = data_of(store, workers=workers, foreground=1.0)
    for name in store.ids:
        (store.path / name / file).write_bytes(b"damaged")
    with pytest.raises(StoreError) as caught:
        seen(data)
    assert caught.value.case in store.ids[:2]
    assert "Traceback" not in str(caught.value)
    assert "hilum prepare" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, found 0"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"accumulate": 0}, "accumulate must be at least 1"),
        ({"workers": -1}, "workers must be at least 0, found -1"),
        ({"validation_batches": 0}, "validation_batches must be at least 1"),
        ({"ids": ()}, "at least one case"),
        ({"ids": ("case 3",)}, "need a case with nodes.*foreground"),
        ({"validation": ("case 9",)}, "case case 9"),
        ({"modalities": ("ct", "petct")}, "unknown modality"),
    ],
)
def test_a_bad_setting_is_one_clear_error(store: CaseStore, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        data_of(store, **change)


def test_a_place_beyond_the_run_is_an_error(store: CaseStore) -> None:
    with pytest.raises(SettingsError, match="6 steps done"):
        data_of(store).load_state_dict({"done": 6})


class OnGpu(Place):
    """The same on a machine with a GPU; nothing is copied to it."""

    def __init__(self) -> None:
        super().__init__(1, 0)
        self.strategy = SingleDeviceStrategy(torch.device("cuda"))


@pytest.mark.parametrize(
    ("augmented", "late", "gpu", "early"),
    [
        (True, False, False, True),
        (True, True, False, False),
        (True, False, True, False),
        (True, True, True, False),
        (False, False, False, False),
    ],
)
def test_one_place_decides_where_patches_are_changed(
    store: CaseStore, augmented: bool, late: bool, gpu: bool, early: bool
) -> None:
    augmentation = PairedAugmentation(store.modalities, PATCH, store.spacing)
    data = data_of(store, augmentation=augmentation if augmented else None, late=late)
    if gpu:
        data.trainer = OnGpu()  # pyright: ignore[reportAttributeAccessIssue]
    assert data.early == early
    item = data._training(4)[0]
    assert item.get("augmented", False) == early
    grown = augmentation.read_shape()
    assert grown != PATCH
    read = PATCH if early or not augmented else grown
    assert item["image"].shape[1:] == read
    assert data._validating().box == (grown if late else PATCH), "fixed patches need no border"
