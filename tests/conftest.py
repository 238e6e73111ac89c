"""What makes all tests cheaper: bytecode is found, garbage looked for less, no disk waited for.

Modules that a checked module imports are read from their own bytecode.

`jaxtyping` gives the bytecode of a module that it checks a name of its own, for as long as the
module runs, so that all that is imported meanwhile (torch, MONAI) is looked for under that name,
and compiled where it is not found: 3,200 modules and a fifth of the time that collecting took.
Shapes of arrays are compared where a function names one; of others types are checked by `beartype`
alone, once: 400,000 calls of a few files of tests bound their arguments by a signature before.

Python looks through all objects again and again for those that hold each other. Thousands of tests
and the libraries stay to the end, so they are put aside, and the rest is looked through less often:
a tenth of the time that short tests took.

Nobody waits until a disk has what was written: tests end processes, not the power, and thousands of
small files took ten milliseconds each. That hilum asks for it, and when, `tests/core/test_parts.py`
looks at.
"""

from __future__ import annotations

import functools
import gc
import os
import re
from importlib import _bootstrap_external
from types import FunctionType, ModuleType
from typing import Any
from unittest.mock import patch

import jaxtyping
from beartype.roar import BeartypeException
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

SHAPED = re.compile(r"\b(Volume|Logits|Label|Available|Float|Bool|UInt8)\b")
"""Names of arrays with shapes, in annotations: `hilum.core.types`, and those of `jaxtyping`."""
with_shapes = jaxtyping.jaxtyped


def stands_for_something(annotation: str, within: dict[str, Any]) -> bool:
    """Say whether an annotation can be read where its function is made."""
    try:
        eval(annotation, within)
    except Exception:
        return False
    return True


def jaxtyped(fn: Any = None, **how: Any) -> Any:
    """Check what a function takes and returns; shapes only where it names one, which costs more."""
    if fn is None:
        return functools.partial(jaxtyped, **how)
    hints = getattr(fn, "__annotations__", {}).values()
    if not isinstance(fn, FunctionType) or any(SHAPED.search(str(hint)) for hint in hints):
        return with_shapes(fn, **how)
    if not all(stands_for_something(h, fn.__globals__) for h in hints if isinstance(h, str)):
        return with_shapes(fn, **how)  # it bears names that only a type checker imports
    try:
        checked = how["typechecker"](fn)
    except BeartypeException:  # of a hint that it cannot read where it stands, such as P.args
        return with_shapes(fn, **how)
    if checked is fn:
        return fn

    @functools.wraps(fn)
    def wrapped(*args: Any, **named: Any) -> Any:
        __tracebackhide__ = True
        if jaxtyping.config.jaxtyping_disable:
            return fn(*args, **named)
        return checked(*args, **named)

    return wrapped


def fsync(handle: int) -> None:
    """Take a file for saved."""
    os.fstat(handle)


jaxtyping.jaxtyped = jaxtyped
os.fsync = fsync
gc.disable()


def pytest_collection_finish() -> None:
    """Put aside what stays to the end, and look for garbage from here on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()
