"""The counter of host reads counts, and the steps around the components read nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hilum.contracts.host_reads import host_reads, pretended_gpu
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.batch import Batch
from hilum.encoders import ENCODERS
from hilum.finetune.data import maps_for
from hilum.losses import LOSSES
from hilum.losses.base import Maps
from hilum.pretrain import TASKS
from hilum.pretrain.module import PretrainModule
from hilum.training.settings import TrainerSettings

PATCH = (16, 16, 16)
SPACING = (4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    "read",
    [
        lambda x: float(x.sum()),
        lambda x: bool((x > 0).any()),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: torch.nn.functional.one_hot(x.long()),
    ],
)
def test_a_read_is_found_with_its_line(read: Any) -> None:
    with host_reads() as found:
        read(torch.arange(4.0))
    assert found
    assert f"{Path(__file__).name}:" in found[0]


def test_what_reads_nothing_is_not_counted() -> None:
    x = torch.arange(4.0, requires_grad=True)
    with host_reads() as found:
        torch.where(x > 1, x.square(), 0.0).sum().backward()
        x[torch.tensor([0, 2])]
    assert not found


def test_a_pretended_gpu_refuses_two_devices_and_reads() -> None:
    with pretended_gpu() as move:
        x = move(torch.ones(3))
        with pytest.raises(Exception, match="device"):
            x + torch.ones(3)
        with pytest.raises(Exception, match="_local_scalar_dense"):
            bool(x.sum() > 0)


def augmentation(**changes: Any) -> PairedAugmentation:
    chosen = validate(AugmentationSettings, changes)
    return PairedAugmentation(("ct", "pet"), PATCH, SPACING, chosen)


def batch_of(sides: tuple[int, int, int]) -> Batch:
    """Return two samples as a loader gives them; the second lacks PET."""
    have = torch.tensor([[True, True], [True, False]])
    return {
        "image": torch.randn(2, 2, *sides).half(),
        "available": have,
        "regions": torch.full((2, 1, *sides), 7, dtype=torch.uint8),
        "label": torch.zeros(2, 1, *sides, dtype=torch.uint8),
        "case": ["a", "b"],
        "seed": torch.tensor([1, 2]),
        "host": list(zip([1, 2], have.tolist(), strict=True)),
    }


def test_host_facts_of_a_changed_batch_are_those_of_its_tensors() -> None:
    change = augmentation(dropout=0.9)
    given = batch_of(change.read_shape())
    for seed in range(8):
        given["host"] = [(seed, [True, True]), (seed + 50, [True, False])]
        result = change(given)
        assert [have for _, have in result.get("host", [])] == result["available"].tolist()


@pytest.mark.parametrize("name", ["masked_autoencoder", "misalignment", "models_genesis"])
def test_a_pretraining_step_runs_on_a_pretended_gpu(name: str) -> None:
    encoder = build(
        ENCODERS, {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}, in_channels=2
    )
    task = build(
        TASKS, {"name": name, **TASKS[name].small}, encoder=encoder, modalities=("ct", "pet")
    )
    change = augmentation()
    module = PretrainModule(
        task, change, spacing=SPACING, settings=validate(TrainerSettings, {"steps": 4}), seed=0
    )
    logged: dict[str, Tensor] = {}
    module.log_dict = lambda values, **_: logged.update(values)  # pyright: ignore[reportAttributeAccessIssue]
    module._trainer = SimpleNamespace(global_step=0, global_rank=0)  # pyright: ignore[reportAttributeAccessIssue]
    batch = batch_of(change.read_shape())
    with pretended_gpu() as move, host_reads() as found:
        module = move(module)
        loss = module.training_step(move(batch), 0)
    outside = [line for line in found if "augmentation/" not in line]
    assert not outside
    assert all(x.device.type == "cuda" for x in (loss, *logged.values()))


@pytest.mark.parametrize("name", list(LOSSES.ours))
def test_maps_of_labels_come_with_the_batch_and_give_the_same_loss(name: str) -> None:
    loss = build(LOSSES, {"name": name, **LOSSES[name].small}, spacing=SPACING)
    batch = batch_of((8, 8, 8))
    batch["label"] = torch.zeros(2, 1, 8, 8, 8, dtype=torch.uint8)
    batch["label"][0, 0, 1:3, 1:3, 1:3], batch["label"][0, 0, 5:, 5:, 5:] = 1, 1
    batch["label"][1, 0, 2:5, 2:5, 2:5] = 5  # an organ
    finish = maps_for(loss, 2, True)
    assert (finish is not None) == loss.mapped == (name in ("blob", "cc", "boundary"))
    if finish is None:
        return
    batch = finish(batch)
    nodes = torch.where(batch["label"] > 1, 0, batch["label"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
    logits = [torch.randn(2, 2, n, n, n) for n in (8, 4)]
    made = Maps(batch["maps"], batch["parts"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
    assert float(loss(logits, nodes, made)[0]) == float(loss(logits, nodes)[0])
    assert np.isfinite(float(loss(logits, nodes, made)[0]))
