"""Several processes that train one run: which one this is, how the others start and end.

The first process, which the user or a study started, has the run folder; it starts the others with
the settings that the folder holds. `torchrun` and `srun` start all of them themselves.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pytorch_lightning.plugins.environments import (
    ClusterEnvironment,  # pyright: ignore[reportPrivateImportUsage]
    LightningEnvironment,  # pyright: ignore[reportPrivateImportUsage]
    SLURMEnvironment,  # pyright: ignore[reportPrivateImportUsage]
    TorchElasticEnvironment,  # pyright: ignore[reportPrivateImportUsage]
)
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from hilum.core.errors import SettingsError
from hilum.core.runs import RunFolder

from .settings import TrainerSettings

GRACE_S = 60.0
"""Seconds between asking a process to end and ending it."""


def follows(settings: TrainerSettings) -> bool:
    """Say whether this process only helps another one, which has the run folder."""
    return settings.processes > 1 and environment(settings).global_rank() > 0


def environment(settings: TrainerSettings) -> ClusterEnvironment:
    """Return who started the processes, which knows their ranks.

    One process is alone, whatever the variables of an interactive SLURM job say.
    """
    if settings.processes > 1:
        if TorchElasticEnvironment.detect():
            return TorchElasticEnvironment()
        if os.environ.get("SLURM_NTASKS") == str(settings.processes) and _in_step():
            return SLURMEnvironment(auto_requeue=False)
    own = LightningEnvironment()
    own.set_global_rank(own.node_rank() * settings.devices + own.local_rank())
    return own


def strategy(settings: TrainerSettings) -> Strategy | str:
    """Return how gradients are shared: data-parallel, sharded too, or not at all.

    A masked modality leaves its parameters without a gradient in that step, hence the search for
    unused ones.
    """
    if settings.processes == 1:
        return "auto"
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    if settings.strategy == "fsdp":
        return ModelParallelStrategy(
            data_parallel_size=settings.processes,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,  # one whole file, which any number can resume from
            process_group_backend=backend,
        )
    return DDPStrategy(
        find_unused_parameters=True,
        gradient_as_bucket_view=True,
        process_group_backend=backend,
    )


@contextmanager
def together(run: RunFolder, settings: TrainerSettings) -> Iterator[None]:
    """Start the other processes of this machine, and end them with the block.

    Raises:
        SettingsError: If the machine has too few devices, or several machines are asked for that
            neither `torchrun` nor `srun` started.
    """
    if settings.processes == 1 or environment(settings).creates_processes_externally:
        yield
        return
    _check(settings)
    variables = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "WORLD_SIZE": str(settings.devices),
        "NODE_RANK": "0",
    }
    command = [sys.executable, "-P", "-m", "hilum", run.command, "--out", str(run.path)]
    command += ["-c", str(run.path / "config.yaml")]
    others = [
        subprocess.Popen(
            command,
            env={**os.environ, **variables, "LOCAL_RANK": str(number)},
            stdout=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )
        for number in range(1, settings.devices)
    ]
    over = threading.Event()
    for other in others:
        threading.Thread(target=_mourn, args=(other, over), daemon=True).start()
    before = {name: os.environ.get(name) for name in (*variables, "LOCAL_RANK")}
    os.environ |= {**variables, "LOCAL_RANK": "0"}
    well = False
    try:
        yield
        well = True
    finally:
        over.set()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        _end(others, well)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


def _check(settings: TrainerSettings) -> None:
    if settings.nodes > 1:
        raise SettingsError(
            "several machines need a launcher",
            found=f"trainer.nodes {settings.nodes}, and neither torchrun nor srun",
            remedy="start the command with srun, one task per device, or with torchrun",
        )
    if torch.cuda.is_available() and torch.cuda.device_count() < settings.devices:
        raise SettingsError(
            "trainer.devices must not be more than the GPUs of this machine",
            found=f"{settings.devices}, and {torch.cuda.device_count()} GPUs",
            remedy="lower trainer.devices",
        )


def _in_step() -> bool:
    """Say whether `srun` started this process; an `sbatch` script alone has one process."""
    name = os.environ.get("SLURM_STEP_ID", "")
    return name.isdigit() and "SLURM_PROCID" in os.environ


def _mourn(other: subprocess.Popen[bytes], over: threading.Event) -> None:
    """End the run if a process of it dies: the rest would wait for its gradients for ever."""
    code = other.wait()
    if code == 0 or over.is_set():
        return
    os.kill(os.getpid(), signal.SIGTERM)
    if not over.wait(GRACE_S):
        print(f"error: a process of the run died with exit code {code}", file=sys.stderr)
        os._exit(1)


def _end(others: list[subprocess.Popen[bytes]], well: bool) -> None:
    """Wait for processes that are about to end; end the others."""
    for other in others:
        if not well and other.poll() is None:
            other.terminate()
    for other in others:
        try:
            other.wait(timeout=GRACE_S if well else 10)
        except subprocess.TimeoutExpired:
            other.kill()
            other.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
