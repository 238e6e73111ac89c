"""A run made longer is one whose optimiser never stopped; only its rates begin again."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from hilum.core.errors import RunError, Stopped
from hilum.core.runs import RunFolder
from hilum.training.continuing import begin
from hilum.training.optimisation import rate_at


def finished(toy: ModuleType, folder: Path, settings: Any, **options: Any) -> Any:
    """Train a toy and say that it is done, as the commands do."""
    module, summary = toy.train(folder, settings, **options)
    with RunFolder.open(folder, toy.ToySettings(trainer=settings), "toy") as run:
        run.finish(summary)
    return module, summary


def reference(toy: ModuleType, folder: Path, first: int, rate: float) -> Any:
    """Train in one go, at the rates of two legs."""
    long = toy.trainer_settings(steps=20)

    class TwoLegs(toy.ToyModule):
        def configure_optimizers(self) -> Any:
            found = super().configure_optimizers()
            found["lr_scheduler"]["scheduler"] = LambdaLR(found["optimizer"], factor)
            return found

    def factor(step: int) -> float:
        if step < first:
            return rate_at(step, 12, 0.05, "cosine")
        return rate * rate_at(step - first, 20 - first, 0.05, "cosine")

    return toy.train(folder, long, module=TwoLegs(long), monitor=None)[0]


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_a_longer_run_keeps_its_optimiser_and_rises_again(toy: ModuleType, tmp_path: Path) -> None:
    finished(toy, tmp_path / "r", toy.trainer_settings(), monitor=None)
    long = toy.trainer_settings(steps=20)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", long, toy.StopAt(15, signal.SIGTERM), monitor=None)
    module, summary = finished(toy, tmp_path / "r", long, monitor=None)
    assert summary["steps"] == 20
    assert same(module, reference(toy, tmp_path / "whole", 12, 1.0))
    legs = json.loads((tmp_path / "r" / "summary.json").read_text())["continued"]
    assert [(leg["step"], leg["was"], leg["now"]) for leg in legs] == [
        (12, {"trainer.steps": 12}, {"trainer.steps": 20})
    ]
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == list(range(1, 21))
    with RunFolder.open(tmp_path / "r", toy.ToySettings(trainer=long), "toy") as run:
        assert run.done
        assert begin(run, long)[1] == []


def test_another_rate_goes_on_in_the_middle(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        toy.train(
            tmp_path / "r", toy.trainer_settings(), toy.StopAt(7, signal.SIGTERM), monitor=None
        )
    changed = toy.trainer_settings(steps=20, learning_rate=0.03)
    with RunFolder.open(tmp_path / "r", toy.ToySettings(trainer=changed), "toy") as run:
        (line,) = begin(run, changed)[1]
    assert "from step 7: trainer.learning_rate was 0.01, now 0.03; trainer.steps was 12" in line
    module, _ = toy.train(tmp_path / "r", changed, monitor=None)
    assert same(module, reference(toy, tmp_path / "whole", 7, 3.0))


def test_what_a_done_run_cannot_go_on_with_is_one_line(toy: ModuleType, tmp_path: Path) -> None:
    finished(toy, tmp_path / "r", toy.trainer_settings())
    with pytest.raises(RunError, match=r"goes on with more trainer.steps only, found trainer.lear"):
        toy.train(tmp_path / "r", toy.trainer_settings(learning_rate=0.5))
    with pytest.raises(RunError, match=r"other settings, found trainer.batch_size was 2, now 3"):
        toy.train(tmp_path / "r", toy.trainer_settings(steps=20, batch_size=3))
    assert RunFolder(tmp_path / "r", "toy").done


def test_patience_is_new_in_a_longer_run(toy: ModuleType, tmp_path: Path) -> None:
    values = {4: 1.0, 8: 2.0, 12: 3.0, 16: 4.0, 20: 0.5}
    short = toy.trainer_settings(patience=2)
    _, summary = finished(toy, tmp_path / "r", short, module=toy.ToyModule(short, values))
    assert summary["ended_by"] == "steps"
    long = toy.trainer_settings(steps=20, patience=3)
    _, summary = finished(toy, tmp_path / "r", long, module=toy.ToyModule(long, values))
    assert (summary["best"], summary["best_step"], summary["steps"]) == (0.5, 20, 20)


def test_more_minutes_go_on_from_where_the_time_was_over(toy: ModuleType, tmp_path: Path) -> None:
    short = toy.trainer_settings(minutes=1e-9)
    _, summary = finished(toy, tmp_path / "r", short)
    assert summary["ended_by"] == "minutes"
    with pytest.raises(RunError, match=r"goes on with more trainer.minutes only"):
        toy.train(tmp_path / "r", toy.trainer_settings(minutes=1e-9, steps=20))
    _, summary = finished(toy, tmp_path / "r", toy.trainer_settings(minutes=10, steps=20))
    assert (summary["ended_by"], summary["steps"]) == ("steps", 20)


@pytest.mark.parametrize("text", ['{"legs": [{"step": "a", "was": {}, "now": {}}]}', "[1]", "{"])
def test_a_damaged_record_is_one_line(toy: ModuleType, tmp_path: Path, text: str) -> None:
    finished(toy, tmp_path / "r", toy.trainer_settings())
    (tmp_path / "r" / "continued.json").write_text(text)
    with pytest.raises(Exception, match=r"continued.json") as caught:
        toy.train(tmp_path / "r", toy.trainer_settings(steps=20))
    assert "\n" not in str(caught.value)
