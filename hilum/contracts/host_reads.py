"""What would make a GPU wait: reads of tensor values on the host, counted on any device."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hilum.core.compat import TorchDispatchMode, pretending
from hilum.core.host import as_on_a_device

READS = frozenset(
    f"aten::{name}"
    for name in (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "is_nonzero",
        "equal",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
    )
)
"""Operations that give a number to the host, or whose result has a size that depends on values."""

METHODS = ("tolist", "numpy", "cpu")
HERE = Path(__file__).resolve().parent


class _Watch(TorchDispatchMode):
    def __init__(self, found: list[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._schema.name
        if name in READS or (name in ("aten::index", "aten::index_put_") and _by_mask(args[1])):
            self.found.append(_place(name))
        return func(*args, **(kwargs or {}))


@contextmanager
def host_reads() -> Iterator[list[str]]:
    """Gather, inside the block, each read of a tensor's values, by operation and line.

    A tensor that lies on the host anyway counts too: on a computer without a GPU nothing tells it
    from one that would lie there. What reads only where it is free (`hilum.core.host`) does here
    what it does on a GPU.
    """
    found: list[str] = []
    before = {name: getattr(Tensor, name) for name in METHODS}
    for name, method in before.items():
        setattr(Tensor, name, _counted(name, method, found))
    try:
        with _Watch(found), as_on_a_device():
            yield found
    finally:
        for name, method in before.items():
            setattr(Tensor, name, method)


def _counted(name: str, method: Callable[..., Any], found: list[str]) -> Callable[..., Any]:
    def counted(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        found.append(_place(name))
        return method(self, *args, **kwargs)

    return counted


def _by_mask(indices: Any) -> bool:
    return any(isinstance(i, Tensor) and i.dtype == torch.bool for i in indices or ())


def _place(name: str) -> str:
    """Return the operation, and the innermost line of the project that calls it."""
    for frame in reversed(traceback.extract_stack()):
        file = Path(frame.filename)
        # A conftest may stand around every function, to check its types.
        ours = file.parent != HERE and file.name != "conftest.py"
        if file.is_file() and ours and "site-packages" not in file.parts:
            return f"{name} at {file.parent.name}/{file.name}:{frame.lineno}"
    return name


REAL = torch.Generator


class PretendedGenerator(REAL):
    """Stands for a generator of a GPU that is not there; what it draws has no values."""

    device = torch.device("cuda")  # pyright: ignore[reportAssignmentType, reportIncompatibleVariableOverride]


@contextmanager
def pretended_gpu() -> Iterator[Callable[[Any], Any]]:
    """Compute, inside the block, on a GPU that is not there: shapes and devices, no values.

    An operation on tensors of two devices fails, as does whatever needs a value on the host.
    Gradients run there only where torch finds a real GPU's driver: its engine asks for it.

    Yields:
        What moves a tensor, a module (in place), or containers of tensors there.
    """
    real = torch.Generator
    torch.Generator = _generator  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with pretending():
            yield _moved
    finally:
        torch.Generator = real  # pyright: ignore[reportAttributeAccessIssue]


def _generator(device: str | torch.device = "cpu") -> torch.Generator:
    return REAL() if torch.device(device).type == "cpu" else PretendedGenerator()


def _moved(value: Any) -> Any:
    if isinstance(value, torch.nn.Module):
        return _moved_module(value)
    if isinstance(value, Tensor):
        return _empty(value, value.requires_grad)
    if isinstance(value, dict):
        return {key: _moved(one) for key, one in value.items()}
    if isinstance(value, REAL):
        return PretendedGenerator()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(one) for one in value))
    if isinstance(value, list | tuple):
        return type(value)(_moved(one) for one in value)
    return value


def _empty(value: Tensor, learns: bool) -> Tensor:
    shape, dtype = tuple(value.shape), value.dtype
    return torch.empty(shape, dtype=dtype, device="cuda", requires_grad=learns)


def _moved_module(module: torch.nn.Module) -> torch.nn.Module:
    for part in module.modules():
        for name, value in list(part._parameters.items()):
            if value is not None:
                part._parameters[name] = torch.nn.Parameter(
                    _empty(value, False), requires_grad=value.requires_grad
                )
        for name, value in list(part._buffers.items()):
            if value is not None:
                part._buffers[name] = _empty(value, False)
    return module
