"""A loader that copies ahead gives the same batches in the same order, and reads one ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch

from hilum.datasets.batch import Batch
from hilum.datasets.loading.loader import PatchLoader
from hilum.datasets.loading.prefetch import OnDevice, to_device

CPU = torch.device("cpu")


class Counted(PatchLoader):
    """Three batches; knows how many were asked for, and may fail at one."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.asked, self.fails_at = 0, fails_at

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        for number in range(3):
            self.asked += 1
            if number == self.fails_at:
                raise ValueError("broken")
            yield {"image": torch.full((2,), float(number)), "case": [f"c{number}"]}


def ahead(source: Counted) -> OnDevice:
    return OnDevice(source, CPU)


def test_batches_come_in_order_with_what_is_no_tensor() -> None:
    found = list(ahead(Counted()))
    assert [float(batch["image"][0]) for batch in found] == [0, 1, 2]
    assert [batch["case"] for batch in found] == [["c0"], ["c1"], ["c2"]]
    assert len(ahead(Counted())) == 3


def test_one_batch_is_ahead_of_what_was_asked_for() -> None:
    source = Counted()
    batches = iter(ahead(source))
    for number in range(3):
        next(batches)
        assert source.asked == min(number + 2, 3)


def test_an_error_of_the_loader_arrives() -> None:
    batches = iter(ahead(Counted(fails_at=1)))
    with pytest.raises(ValueError, match="broken"):
        next(batches)


def test_tensors_move_and_the_given_batch_stays() -> None:
    batch = cast(Batch, {"image": torch.ones(2), "case": ["a"]})
    moved = to_device(batch, torch.device("meta"))
    assert moved["image"].is_meta
    assert moved["case"] == ["a"]
    assert not batch["image"].is_meta


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_values_arrive_whole() -> None:
    device = torch.device("cuda")
    for number, batch in enumerate(OnDevice(Counted(), device)):
        assert batch["image"].device.type == "cuda"
        assert (batch["image"] == number).all()
