"""The bench tells the phases of a step apart, and its advice follows from the numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from hilum.core.settings import validate
from hilum.training.bench import PHASES, Bench, Parts, advice, bare
from hilum.training.settings import TrainerSettings


def trainer(**values: Any) -> TrainerSettings:
    return validate(TrainerSettings, values)


def made(**changes: Any) -> Bench:
    phases = dict.fromkeys(PHASES, 0.0) | {"forward": 0.03, "backward": 0.06, "data": 0.001}
    values = {"phases": phases, "loop": 0.092, "tracked": 0.093, "memory": 1.0}
    return Bench(**(values | {"patches": 2, "device": "2 threads"} | changes))


class Sleepy(pl.LightningModule):
    """One weight; what takes how long is known."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Linear(1, 1), []

    def augment(self, batch: dict[str, Tensor], step: int) -> Tensor:
        time.sleep(0.02)
        self.seen.append(("augment", step))
        return batch["image"]

    def loss(self, ready: Tensor) -> Tensor:
        time.sleep(0.04)
        return self.layer(ready).square().mean()

    def after(self, step: int) -> None:
        time.sleep(0.03)
        self.seen.append(("after", step))

    def configure_optimizers(self) -> dict[str, Any]:  # pyright: ignore
        return {"optimizer": torch.optim.SGD(self.parameters(), 0.1)}


class Numbers(pl.LightningDataModule):
    """Batches that take 10 ms."""

    def train_dataloader(self) -> Iterator[dict[str, Any]]:  # pyright: ignore
        for _ in range(8):
            time.sleep(0.01)
            yield {"image": torch.ones(2, 1), "case": ["a", "b"]}


def test_each_phase_has_the_time_that_it_took() -> None:
    module = Sleepy()
    before = module.layer.weight.clone()
    parts = Parts(module, Numbers(), module.augment, module.loss, module.after)
    found = bare(parts, trainer(accumulate=2, precision="32"), steps=2)
    least = {"data": 0.02, "augmentation": 0.04, "forward": 0.08, "optimiser": 0.03}
    for phase, seconds in least.items():  # two batches of a step, one after
        assert seconds <= found[phase] < seconds + 0.02, phase
    assert found["backward"] + found["transfer"] < 0.02
    steps = [step for step in range(4) for _ in range(2)]
    assert [step for what, step in module.seen if what == "augment"] == steps
    assert [step for what, step in module.seen if what == "after"] == [1, 2, 3, 4]
    assert not torch.equal(module.layer.weight, before)


def test_what_takes_longest_is_the_limit() -> None:
    assert advice(made(), trainer())[0] == "limit: backward, 66 % of a step"


def test_waiting_for_data_asks_for_workers() -> None:
    slow = made(phases=dict(made().phases) | {"data": 0.09})
    lines = "\n".join(advice(slow, trainer()))
    assert "limit: data, 50 %" in lines
    assert "trainer.workers=" in lines
    many = trainer(workers=1000)
    assert "slow disk" in "\n".join(advice(slow, many))


def test_a_dear_loop_is_named() -> None:
    dear = made(tracked=0.1365)  # 91 ms for bare steps, 92 for a run
    assert "loop: 50 % above the bare steps, W&B's part 49 %" in advice(dear, trainer())


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a processor")
def test_idle_cores_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert "trainer.threads=64" in "\n".join(advice(made(), trainer()))
