"""Sharded training (FSDP): each process holds a part of weights, gradients and optimiser state.

A LightningModule that can be sharded has `configure_model` call `shard`, wraps what reads weights
outside of its steps in `gathered`, and takes the weights back from `whole_state` at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh


def shard(module: nn.Module, mesh: DeviceMesh, *steps: str) -> None:
    """Divide every parameter of a module over the processes, in place.

    The names of the parameters stay. All weights are one group: they are gathered when a step
    begins, freed behind it, gathered again for the way back, and gradients are averaged and
    divided. So any method may use any part of the network in any order inside a step, whatever the
    structure; what is saved is the memory of gradients, optimiser and idle weights.

    Args:
        module: What to divide.
        mesh: The processes, one axis.
        *steps: Names of its methods that need whole weights.

    Source:
        Zhao et al., "PyTorch FSDP", VLDB 2023, arXiv:2304.11277; `fully_shard` of torch.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    for step in steps:
        register_fsdp_forward_method(module, step)


def touch(module: nn.Module, loss: Tensor) -> Tensor:
    """Return the loss with a gradient, if only zero, for every parameter that trains.

    A masked modality leaves parameters without one. Processes exchange their gradients in one
    piece, which must hold the same parameters everywhere. The loss itself does not change.
    """
    return loss + 0.0 * sum(p.flatten()[:1].sum() for p in module.parameters() if p.requires_grad)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Have whole weights in a sharded module while the block runs, in all processes at once."""
    from torch.distributed.fsdp import FSDPModule

    if not isinstance(module, FSDPModule):
        yield
        return
    module.unshard()
    try:
        yield
    finally:
        module.reshard()


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor that may be sharded as a whole one; all processes must ask."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a tensor with device and type of another, and sharded if that one is."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(other, DTensor):
        return whole(tensor).to(other)
    if isinstance(tensor, DTensor):
        return tensor
    moved = tensor.to(other.device, other.dtype)
    return distribute_tensor(moved, other.device_mesh, other.placements)


def whole_state(module: nn.Module) -> dict[str, Tensor]:
    """Return the state of a sharded module, on the CPU of the first process; empty elsewhere."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(module, options=options)
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
