"""Count the bytes that tensors hold."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor, nn

from .compat import TorchDispatchMode, key_of, tree_leaves


class Storages(TorchDispatchMode):
    """Follow the bytes of every storage from its first operation to its end, while it is entered.

    Counted by every operation's results, not asked of the system, whose answer includes what the
    allocator keeps: the same on every machine, with fake tensors too, but blind to an operation's
    own scratch.

    Args:
        module: Its parameters and buffers are there from the start.

    Attributes:
        live: Bytes held now.
        peak: Most bytes held at once.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.seen: set[int] = set()
        for tensor in (*module.parameters(), *module.buffers()):
            self._see(tensor)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf)
        return result

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = key_of(storage), storage.nbytes()
        if key not in self.seen:
            self.seen.add(key)
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.live -= size
