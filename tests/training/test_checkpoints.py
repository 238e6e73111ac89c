"""A checkpoint is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from hilum.core.errors import CheckpointError, Stopped
from hilum.core.runs import RunFolder
from hilum.training.checkpoints import AtomicCheckpoints, best_weights, write_weights


class Dies:
    """Fails while it is being saved, after much was written."""

    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


def test_a_kill_during_a_save_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"step": 1, "x": torch.ones(9999)}, file)
    with pytest.raises(KeyboardInterrupt):
        AtomicCheckpoints().save_checkpoint({"step": 2, "x": torch.ones(9999), "y": Dies()}, file)
    assert torch.load(file, weights_only=True)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_full_disk_during_a_save_is_a_clear_error_and_leaves_the_old_one(tmp_path: Path) -> None:
    import resource

    file = tmp_path / "last.ckpt"
    AtomicCheckpoints().save_checkpoint({"step": 1}, file)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            AtomicCheckpoints().save_checkpoint({"step": 2, "x": torch.ones(99_999)}, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert torch.load(file, weights_only=True)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_needs_no_pickle_to_be_read(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.trainer_settings(steps=3, ema=0.9)
    toy.train(tmp_path / "r", settings)
    found = torch.load(tmp_path / "r" / "checkpoints" / "last.ckpt", weights_only=True)
    assert found["global_step"] == 3


def test_a_run_without_validation_has_no_best_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="as its validation left them, found no file"):
        best_weights(RunFolder(tmp_path, "toy"))


def test_weights_carry_what_they_are_about(tmp_path: Path) -> None:
    write_weights(tmp_path / "w.safetensors", {"a": torch.ones(2)}, {"case": "x"})
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "case": "x"}


def test_the_average_follows_the_formula_and_is_what_the_run_hands_over(
    toy: ModuleType, tmp_path: Path
) -> None:
    settings = toy.trainer_settings(steps=5, ema=0.3, accumulate=2, validate_every=3)

    class Follow(toy.StopAt):
        """Average as the docstring writes it."""

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.average = {name: p.detach().clone() for name, p in module.named_parameters()}
            self.raw: list[Any] = []

        def on_train_batch_end(self, trainer: Any, module: Any, o: Any, b: Any, i: int) -> None:
            if i % 2:
                step = trainer.global_step
                keep = min(0.3, (1 + step) / (10 + step))
                for name, p in module.named_parameters():
                    self.average[name] = keep * self.average[name] + (1 - keep) * p.detach()

        def on_validation_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            for name, p in module.named_parameters():
                torch.testing.assert_close(p.detach(), self.average[name])

    follow = Follow(-1, 0)
    module, _ = toy.train(tmp_path / "r", settings, follow, monitor=None)
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.detach(), follow.average[name])


def test_the_best_weights_are_those_that_validated(toy: ModuleType, tmp_path: Path) -> None:
    """They are the averaged ones: the score that chose them is theirs."""

    class Seen(toy.StopAt):
        """Keeps what a validation looks at, and what is trained."""

        def __init__(self) -> None:
            super().__init__(-1, 0)
            self.validated: dict[int, Any] = {}
            self.raw: dict[int, Any] = {}

        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            self.raw[trainer.global_step] = copied(module)

        def on_validation_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            self.validated[trainer.global_step] = copied(module)

    def copied(module: Any) -> dict[str, torch.Tensor]:
        return {name: p.detach().clone() for name, p in module.named_parameters()}

    settings = toy.trainer_settings(steps=9, ema=0.9, validate_every=3)
    chooser = toy.ToyModule(settings, {3: 2.0, 6: 1.0, 9: 3.0})
    seen = Seen()
    module, summary = toy.train(tmp_path / "r", settings, seen, module=chooser)
    assert summary["best_step"] == 6
    kept = load_file(tmp_path / "r" / "checkpoints" / "best.safetensors")
    for name, p in module.named_parameters():
        assert torch.equal(p, seen.validated[6][name]), "handed over"
        assert torch.equal(kept[name], seen.validated[6][name]), "written"
        assert not torch.allclose(p, seen.raw[6][name]), "the average is not the raw weights"


def test_of_equal_values_the_longer_training_is_taken_and_none_of_them_is_progress(
    toy: ModuleType, tmp_path: Path
) -> None:
    settings = toy.trainer_settings(steps=9, validate_every=3)
    for values, step in (({3: 2.0, 6: 1.0, 9: 1.0}, 9), ({3: 1.0, 6: 1.0, 9: 2.0}, 6)):
        out = tmp_path / str(step)
        chooser = toy.ToyModule(settings, values)
        module, summary = toy.train(out, settings, module=chooser)
        assert (summary["best"], summary["best_step"], summary["steps"]) == (1.0, step, 9)
        kept = load_file(out / "checkpoints" / "best.safetensors")
        for name, p in module.named_parameters():
            assert torch.equal(p, kept[name])
    patient = toy.trainer_settings(steps=12, validate_every=3, patience=2)
    chooser = toy.ToyModule(patient, dict.fromkeys((3, 6, 9, 12), 1.0))
    _, summary = toy.train(tmp_path / "patient", patient, module=chooser)
    assert (summary["steps"], summary["best_step"]) == (9, 9)


def test_a_stop_inside_a_validation_keeps_the_raw_weights(toy: ModuleType, tmp_path: Path) -> None:
    settings = toy.trainer_settings(ema=0.5)

    class Tied(toy.ToyModule):
        """Registers one parameter under two names, as some libraries do."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.again = self.decoder

    options = {"monitor": None}
    reference, _ = toy.train(tmp_path / "whole", settings, module=Tied(settings), **options)
    stop = toy.StopAt(8, signal.SIGTERM, "validation")
    with pytest.raises(Stopped):
        toy.train(tmp_path / "cut", settings, stop, module=Tied(settings), **options)
    module, _ = toy.train(tmp_path / "cut", settings, module=Tied(settings), **options)
    for one, other in zip(module.parameters(), reference.parameters(), strict=True):
        assert torch.equal(one, other)
