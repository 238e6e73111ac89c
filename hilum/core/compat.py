"""Every name of another library that is private there, in one place: what a new version may break.

Each has a test of its own in `tests/core/test_compat.py`, and each library an upper bound in
`pyproject.toml`. Libraries other than torch are imported by whoever asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
from torch.utils._pytree import tree_leaves as tree_leaves

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import WandbLogger


def lerp_all(old: Sequence[Tensor], new: Sequence[Tensor], weight: float) -> None:
    """Move every tensor towards another by a fraction of the way, in place and in few kernels."""
    torch._foreach_lerp_(list(old), list(new), weight)  # pyright: ignore[reportPrivateImportUsage]


def assert_later(condition: Tensor, message: str) -> None:
    """Check a truth value where it lies: a GPU goes on, and fails at a later operation."""
    torch._assert_async(condition, message)  # pyright: ignore[reportPrivateImportUsage]


def gamma(concentration: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from gamma distributions of scale 1; no public draw takes a generator."""
    return torch._standard_gamma(concentration, generator=generator)  # pyright: ignore[reportPrivateImportUsage]


def fast_bfloat16_on_cpu() -> bool:
    """Tell whether the processor computes in bfloat16 by itself."""
    try:
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    except AttributeError:
        # Older or other processors' builds lack the question; float32 is always right.
        return False


def pretending() -> AbstractContextManager[Any]:
    """Compute with tensors that have a shape, a type and a device, but no values."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    return FakeTensorMode(allow_non_fake_inputs=True)


def key_of(storage: torch.UntypedStorage) -> int:
    """Return what tells storages apart, those of fake tensors too, which lie nowhere."""
    return storage._cdata


def allow_recompiles(count: int) -> None:
    """Set how often torch may compile one function for other inputs."""
    torch._dynamo.config.recompile_limit = count


@contextmanager
def capturing(forms: int) -> Iterator[Mapping[str, Any]]:
    """Count graphs and graph breaks of what torch compiles inside the block, from nothing.

    Args:
        forms: How often one function may be captured for other inputs.
    """
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    try:
        with torch._dynamo.config.patch(recompile_limit=forms):
            yield torch._dynamo.utils.counters
    finally:
        torch._dynamo.utils.counters.clear()
        torch._dynamo.reset()


def efficient_squeeze_excite() -> type[nn.Module]:
    """Return the class of squeeze-and-excitation in timm's EfficientNets."""
    from timm.models._efficientnet_blocks import SqueezeExcite

    return SqueezeExcite


def set_step(trainer: pl.Trainer, step: int, accumulate: int) -> None:
    """Set every counter of Lightning to an optimiser step, at the beginning of an epoch."""
    loop = trainer.fit_loop.epoch_loop
    loop._batches_that_stepped = step
    loop.automatic_optimization.optim_progress.optimizer.step.total.completed = step
    total = loop.batch_progress.total
    total.ready = total.completed = step * accumulate
    total.started = total.processed = total.ready  # pyright: ignore[reportAttributeAccessIssue]


def silence_anonymous(logger: WandbLogger) -> None:
    """Leave out an old setting that W&B warns of even when it is empty."""
    logger._wandb_init.pop("anonymous", None)


def taken_run(logger: WandbLogger) -> Any:
    """Return the W&B run of a logger, `None` if it has none, and let the logger forget it."""
    run, logger._experiment = logger._experiment, None
    return run


def leave_wandb_behind() -> None:
    """Let this process end without W&B, whose exit hook waits for as long as a server is silent."""
    with suppress(Exception):  # no public way; without it the exit is slow, not wrong
        from wandb.sdk import wandb_setup

        connection = wandb_setup.singleton()._connection
        if connection is not None and connection._cleanup is not None:
            connection._cleanup()
