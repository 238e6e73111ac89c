"""One process is alone whatever a cluster says; several need a launcher that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pytorch_lightning.strategies import DDPStrategy

from hilum.core.errors import SettingsError
from hilum.core.runs import RunFolder
from hilum.training.processes import environment, follows, strategy, together

from .toy import trainer_settings

SLURM = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_ID": "0"}
SLURM |= {"SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "train"}


def test_one_process_is_alone_inside_a_cluster_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert not follows(trainer_settings())
    assert environment(trainer_settings()).global_rank() == 0
    assert strategy(trainer_settings()) == "auto"


def test_srun_tells_the_ranks_if_its_tasks_are_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert follows(trainer_settings(devices=2))
    assert environment(trainer_settings(devices=2)).global_rank() == 1
    assert not follows(trainer_settings(devices=4))


def test_torchrun_tells_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    two = trainer_settings(devices=2, nodes=2)
    assert (environment(two).global_rank(), environment(two).world_size()) == (3, 4)
    assert follows(two)


def test_a_started_process_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not follows(trainer_settings(devices=2))
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert follows(trainer_settings(devices=2))


def test_several_machines_without_a_launcher_are_refused(tmp_path: Path) -> None:
    settings = trainer_settings(devices=1, nodes=2)
    with (
        pytest.raises(SettingsError, match=r"need a launcher.*srun"),
        together(RunFolder(tmp_path, "pretrain"), settings),
    ):
        pass


def test_gradients_are_shared_by_gloo_without_a_gpu() -> None:
    chosen = strategy(trainer_settings(devices=2))
    assert isinstance(chosen, DDPStrategy)
    assert chosen._process_group_backend == ("nccl" if torch.cuda.is_available() else "gloo")
