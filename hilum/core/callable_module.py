"""A room that is called like a function: `hilum.pretrain(settings, out)`.

A room and its command have one name. Python puts a package in the place of any function of that
name as soon as it is imported, so the package itself must answer the call.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class CallableModule(ModuleType):
    """A module that hands calls to a function, imported at the first call."""

    calls: str

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function that the module stands for."""
        return find(self.calls)(*args, **kwargs)


def find(place: str) -> Any:
    """Return what stands at `module:name`, or the module at `module`."""
    module, _, name = place.partition(":")
    found = import_module(module)
    return getattr(found, name) if name else found


def calls(module: str, place: str) -> None:
    """Let a module be called.

    Args:
        module: `__name__` of the module.
        place: The function, as `module:name`.
    """
    own = sys.modules[module]
    own.__class__ = CallableModule
    own.__dict__["calls"] = place
