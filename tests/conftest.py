"""Modules that a checked module imports are read from their own bytecode.

`jaxtyping` gives the bytecode of a module that it checks a name of its own, for as long as the
module runs, so that all that is imported meanwhile (torch, MONAI) is looked for under that name,
and compiled where it is not found: 3,200 modules and a fifth of the time that collecting took.
"""

from __future__ import annotations

import functools
from importlib import _bootstrap_external
from types import ModuleType
from typing import Any
from unittest.mock import patch

from jaxtyping import _import_hook


def exec_module(self: Any, module: ModuleType) -> None:
    """Find the code under the name of its own, and run it under everyone's."""
    named = functools.partial(
        _import_hook._optimized_cache_from_source, self._typechecker.get_hash()
    )
    with patch.object(_bootstrap_external, "cache_from_source", named):
        code = self.get_code(module.__name__)
    exec(code, module.__dict__)


_import_hook._JaxtypingLoader.exec_module = exec_module
