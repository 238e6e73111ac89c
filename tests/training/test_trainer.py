"""A run that is stopped and resumed ends with the bits of one that is not, and obeys signals."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from hilum.core.errors import CheckpointError, DataError, Stopped
from hilum.core.runs import RunFolder
from hilum.training.guard import StepGuard

from ..warm import python

STOPS = [(1, "train"), (4, "train"), (4, "validation"), (5, "train"), (8, "validation")]


def same_bits(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def same_end(one: Path, other: Path) -> bool:
    """Say whether two runs ended with the same weights and the same state of the optimiser."""
    a, b = last(one), last(other)
    equal = all(torch.equal(a["state_dict"][key], value) for key, value in b["state_dict"].items())
    return equal and repr(a["optimizer_states"]) == repr(b["optimizer_states"])


def last(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def logged(folder: Path, key: str) -> list[tuple[int, float]]:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row[key]) for row in rows if key in row]


@pytest.fixture
def whole(toy: ModuleType, tmp_path: Path) -> tuple[Any, dict[str, Any], Path]:
    """Return a run that nothing disturbed."""
    module, summary = toy.train(tmp_path / "whole", toy.trainer_settings())
    return module, summary, tmp_path / "whole"


@pytest.mark.parametrize(("step", "where"), STOPS)
def test_a_stopped_run_ends_with_the_same_bits(
    toy: ModuleType, whole: Any, tmp_path: Path, step: int, where: str
) -> None:
    reference, summary, folder = whole
    settings, cut = toy.trainer_settings(), tmp_path / "cut"
    with pytest.raises(Stopped):
        toy.train(cut, settings, toy.StopAt(step, signal.SIGTERM, where))
    assert last(cut)["global_step"] == step
    module, again = toy.train(cut, settings)
    assert same_bits(module, reference)
    assert again | {"seconds": 0, "cpu_seconds": 0} == summary | {"seconds": 0, "cpu_seconds": 0}
    assert same_end(cut, folder)
    for key in ("train/mse", "val/score", "optimisation/learning_rate/encoder"):
        assert logged(cut, key) == logged(folder, key)


def test_a_run_stopped_at_every_step_ends_with_the_same_bits(
    toy: ModuleType, tmp_path: Path
) -> None:
    settings = toy.trainer_settings(steps=6, accumulate=2, ema=0.5, validate_every=2, patience=9)
    reference, _ = toy.train(tmp_path / "whole", settings)
    for step in range(1, 6):
        with pytest.raises(Stopped):
            toy.train(tmp_path / "cut", settings, toy.StopAt(step, signal.SIGUSR1))
    module, summary = toy.train(tmp_path / "cut", settings)
    assert same_bits(module, reference)
    assert same_end(tmp_path / "cut", tmp_path / "whole")
    assert summary["steps"] == 6
    assert logged(tmp_path / "cut", "val/score") == logged(tmp_path / "whole", "val/score")


def test_the_resumed_run_sees_only_the_batches_that_are_left(
    toy: ModuleType, tmp_path: Path
) -> None:
    settings = toy.trainer_settings()
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", settings, toy.StopAt(5, signal.SIGTERM))
    module, _ = toy.train(tmp_path / "r", settings)
    assert module.seen == [f"case_{i:03d}" for i in range(10, 24)]


@pytest.mark.slow
def test_a_process_killed_by_sigterm_ends_with_75_and_resumes_to_the_same_bits(
    toy: ModuleType, whole: Any, tmp_path: Path, toy_folder: Path
) -> None:
    # Each step sleeps, so that the signal surely comes in the middle of the run.
    code = f"""
import sys, time; sys.path.insert(0, {str(toy_folder)!r})
import pytorch_lightning as pl, toy
from pathlib import Path
class Slow(pl.Callback):
    def on_train_batch_end(self, *args):
        print("step", flush=True); time.sleep(0.5)
from hilum.core.errors import Stopped
try:
    toy.train(Path({str(tmp_path / "cut")!r}), toy.trainer_settings(), Slow())
except Stopped as stop:
    sys.exit(stop.exit_code)
"""
    command = [python(), "-P", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.terminate()
        assert process.wait(timeout=60) == 75
    assert 2 <= last(tmp_path / "cut")["global_step"] < 12
    module, _ = toy.train(tmp_path / "cut", toy.trainer_settings())
    assert same_bits(module, whole[0])
    assert same_end(tmp_path / "cut", whole[2])


def test_a_run_killed_without_warning_repeats_its_last_steps(
    toy: ModuleType, whole: Any, tmp_path: Path
) -> None:
    class PowerCut(toy.StopAt):
        def _raise(self, where: str, trainer: Any) -> None:
            if where == "train" and trainer.global_step == self.step:
                raise MemoryError

    with pytest.raises(MemoryError):
        toy.train(tmp_path / "cut", toy.trainer_settings(), PowerCut(8, 0))
    assert last(tmp_path / "cut")["global_step"] == 6
    module, _ = toy.train(tmp_path / "cut", toy.trainer_settings())
    assert same_bits(module, whole[0])
    assert same_end(tmp_path / "cut", whole[2])
    assert logged(tmp_path / "cut", "train/mse") == logged(whole[2], "train/mse")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGINT, 130)]
)
def test_a_signal_stops_cleanly_and_the_handlers_come_back(
    toy: ModuleType, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as stop:
        toy.train(tmp_path / "r", toy.trainer_settings(), toy.StopAt(2, number))
    assert stop.value.exit_code == code
    assert signal.getsignal(number) == before
    assert json.loads((tmp_path / "r" / "status.json").read_text())["state"] == "interrupted"


def test_a_second_ctrl_c_stops_at_once(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.trainer_settings(steps=40, save_every=100)
    once, twice = toy.StopAt(2, signal.SIGINT), toy.StopAt(2, signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped) as stop:
        toy.train(tmp_path / "r", settings, once, twice)
    assert stop.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) == before
    assert not (tmp_path / "r" / "checkpoints" / "last.ckpt").exists()


def test_a_run_killed_between_its_end_and_done_trains_no_more(toy: ModuleType, whole: Any) -> None:
    module, summary = toy.train(whole[2], toy.trainer_settings())
    assert module.seen == []
    assert same_bits(module, whole[0])
    assert summary | {"seconds": 0, "cpu_seconds": 0} == whole[1] | {"seconds": 0, "cpu_seconds": 0}


def test_the_best_weights_come_back_whatever_follows(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.trainer_settings()
    values = {4: 3.0, 8: 1.0, 12: float("nan")}
    short = toy.trainer_settings(steps=12, validate_every=8)
    module, summary = toy.train(
        tmp_path / "r", settings, module=toy.ToyModule(settings, values), mode="min"
    )
    assert (summary["best"], summary["best_step"]) == (1.0, 8)

    class Snapshot(toy.StopAt):
        def _raise(self, where: str, trainer: Any) -> None:
            if where == "train" and trainer.global_step == 8:
                state = trainer.lightning_module.state_dict()
                self.state = {key: value.clone() for key, value in state.items()}

    snapshot = Snapshot(8, 0)
    toy.train(tmp_path / "s", short, snapshot, monitor=None)
    own = module.state_dict()
    assert all(torch.equal(own[key], value) for key, value in snapshot.state.items())


def test_the_last_step_is_always_validated(toy: ModuleType, tmp_path: Path) -> None:
    module, _ = toy.train(tmp_path / "r", toy.trainer_settings(steps=7, validate_every=5))
    assert module.validated == [5, 7]


def test_patience_counts_validations_and_survives_a_stop(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.trainer_settings(steps=40, patience=2)
    values = {4: 1.0, 8: 2.0, 12: 3.0}
    stop = toy.StopAt(10, signal.SIGTERM)
    with pytest.raises(Stopped):
        toy.train(tmp_path / "r", settings, stop, module=toy.ToyModule(settings, values))
    for _ in range(2):  # the second time the run is at its end already
        _, summary = toy.train(tmp_path / "r", settings, module=toy.ToyModule(settings, values))
        assert summary["stopped_early"]
        assert (summary["steps"], summary["best_step"]) == (12, 4)


def test_a_loss_that_is_not_finite_names_the_cases_and_keeps_the_batch(
    toy: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"case_008, case_009.*loss of step 5") as error:
        toy.train(tmp_path / "r", toy.trainer_settings(), poison=9)
    assert "found nan" in str(error.value)
    from safetensors import safe_open

    with safe_open(tmp_path / "r" / "replay" / "step-000005.safetensors", "pt") as kept:
        assert json.loads(kept.metadata()["case"]) == ["case_008", "case_009"]
        assert kept.get_tensor("image").isnan().sum() == 1
    assert last(tmp_path / "r")["global_step"] == 3
    state = last(tmp_path / "r")["state_dict"]
    assert all(value.isfinite().all() for value in state.values())


def test_a_gradient_that_is_not_finite_never_reaches_the_disk(
    toy: ModuleType, tmp_path: Path
) -> None:
    settings = toy.trainer_settings()

    class Explodes(toy.ToyModule):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            if self.trainer.global_step != 2:
                return loss
            # sqrt has an infinite slope at 0, so the loss is finite and its gradient is not.
            return loss + (0 * self.decoder.bias.sum()).sqrt()

    module = Explodes(settings)
    with pytest.raises(DataError, match="gradient of step 3"):
        toy.train(tmp_path / "r", settings, module=module)
    assert not (tmp_path / "r" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("step", "changes"),
    [
        (4, {"save_every": 99}),
        (12, {"validate_every": 99, "save_every": 99}),
        (7, {"validate_every": 99, "save_every": 1}),
    ],
    ids=["in front of a validation", "in the last step", "in front of a save"],
)
def test_a_number_that_is_not_finite_is_read_before_anything_is_kept(
    toy: ModuleType, tmp_path: Path, step: int, changes: dict[str, Any]
) -> None:
    settings = toy.trainer_settings(**{"log_every": 99} | changes)
    module = toy.ToyModule(settings)
    with pytest.raises(DataError, match=f"loss of step {step} must be finite"):
        toy.train(tmp_path / "r", settings, module=module, poison=2 * step - 1)
    assert step not in module.validated
    kept = tmp_path / "r" / "checkpoints"
    assert not (kept / "best.safetensors").exists()
    if (kept / "last.ckpt").exists():
        assert last(tmp_path / "r")["global_step"] == step - 1


def test_the_numbers_of_a_step_are_read_when_the_next_one_is_under_way(
    toy: ModuleType, tmp_path: Path
) -> None:
    losses: list[float] = []
    known: list[float] = []

    class Watch(pl.Callback):
        def on_before_backward(self, trainer: Any, module: Any, loss: torch.Tensor) -> None:
            losses.append(float(loss.detach()))

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            known.extend(c.loss for c in trainer.callbacks if isinstance(c, StepGuard))

    toy.train(
        tmp_path / "r", toy.trainer_settings(steps=5, log_every=99, validate_every=99), Watch()
    )
    # The first step has a log line, so its own loss is known at once.
    assert known == [losses[0], losses[0], losses[1], losses[2], losses[3]]


@pytest.mark.parametrize("stop", [None, 5])
def test_a_log_line_is_the_mean_since_the_last_one_also_after_a_stop(
    toy: ModuleType, tmp_path: Path, stop: int | None
) -> None:
    toy.train(tmp_path / "every", toy.trainer_settings(steps=8))
    losses = [loss for _, loss in logged(tmp_path / "every", "train/loss")]
    settings = toy.trainer_settings(steps=8, log_every=4)
    if stop is not None:
        with pytest.raises(Stopped):
            toy.train(tmp_path / "r", settings, toy.StopAt(stop, signal.SIGTERM))
    toy.train(tmp_path / "r", settings)
    means = {1: losses[0], 4: statistics.fmean(losses[1:4]), 8: statistics.fmean(losses[4:])}
    assert dict(logged(tmp_path / "r", "train/loss")) == pytest.approx(means)


def test_a_damaged_checkpoint_is_one_clear_error(toy: ModuleType, whole: Any) -> None:
    file = whole[2] / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"last.ckpt.*must be whole.*delete it"):
        toy.train(whole[2], toy.trainer_settings())


def test_dropout_is_a_function_of_the_seed(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.trainer_settings(steps=2)
    runs = [toy.train(tmp_path / str(n), settings, seed=s)[0] for n, s in enumerate((0, 0, 1))]
    assert same_bits(runs[0], runs[1])
    assert not same_bits(runs[0], runs[2])


def test_the_gradient_is_clipped_and_logged_as_it_was(toy: ModuleType, tmp_path: Path) -> None:
    class Norms(toy.StopAt):
        def on_before_zero_grad(self, trainer: Any, module: Any, optimizer: Any) -> None:
            grads = [p.grad for p in module.parameters() if p.grad is not None]
            if grads:
                self.seen.append(float(torch.stack([g.norm() for g in grads]).norm()))

    norms = Norms(-1, 0)
    norms.seen = []
    toy.train(tmp_path / "r", toy.trainer_settings(clip=0.1), norms)
    before = [norm for _, norm in logged(tmp_path / "r", "optimisation/gradient_norm")]
    assert max(before) > 0.5
    assert max(norms.seen) <= 0.1 + 1e-5


def test_progress_lines_name_the_run_and_contain_an_eta(
    toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.train(tmp_path / "my run", toy.trainer_settings())
    line = capsys.readouterr().out.strip().splitlines()[-1]
    for part in ("toy my run 12/12", "loss ", "best val/score ", "it/s", "elapsed", "ETA 0:00"):
        assert part in line


def test_a_run_is_quiet_but_for_its_progress(
    toy: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.train(tmp_path / "r", toy.trainer_settings())
    found = capsys.readouterr()
    assert len(found.out.splitlines()) == 1
    assert found.err == ""


def test_the_heartbeat_says_how_far_the_run_is(toy: ModuleType, whole: Any) -> None:
    status = json.loads((whole[2] / "status.json").read_text())
    assert (status["step"], status["steps"]) == (12, 12)
    assert time.time() - status["heartbeat"] < 600


def test_training_restores_the_number_of_threads(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()

    class Count(toy.StopAt):
        def on_train_start(self, *args: Any) -> None:
            self.threads = torch.get_num_threads()

    for asked, expected in ((1, 1), (None, min(before, len(os.sched_getaffinity(0))))):
        count = Count(-1, 0)
        toy.train(tmp_path / str(asked), toy.trainer_settings(steps=1, threads=asked), count)
        assert count.threads <= expected
        assert torch.get_num_threads() == before


def test_a_missing_monitor_says_what_was_logged(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=r"val/dice.*val/score"):
        toy.train(tmp_path / "r", toy.trainer_settings(), monitor="val/dice")


def test_bfloat16_trains_and_the_weights_stay_float32(toy: ModuleType, tmp_path: Path) -> None:
    module, summary = toy.train(tmp_path / "r", toy.trainer_settings(steps=3, precision="bf16"))
    assert summary["steps"] == 3
    assert {p.dtype for p in module.parameters()} == {torch.float32}


def test_a_shorter_run_does_not_resume(toy: ModuleType, whole: Any) -> None:
    from hilum.core.errors import RunError

    with pytest.raises(RunError, match=r"not shorter: trainer.steps, found 12 .* now 11"):
        toy.train(whole[2], toy.trainer_settings(steps=11))
    assert RunFolder(whole[2], "toy").done is False
    assert isinstance(RunFolder(whole[2], "toy").checkpoint, Path)
