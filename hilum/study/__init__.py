"""Many runs, one table, one report. Each command of `hilum study` is a function of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hilum.core.callable_module import find

if TYPE_CHECKING:
    from .commands import collect, plan, status
    from .commands import report as report
    from .commands import run as run
    from .upkeep import cancel, cell, logs, retry, sweep

_PLACES = {
    "plan": "hilum.study.commands:plan",
    "run": "hilum.study.run",  # a room that is called like the command
    "status": "hilum.study.commands:status",
    "retry": "hilum.study.upkeep:retry",
    "logs": "hilum.study.upkeep:logs",
    "cancel": "hilum.study.upkeep:cancel",
    "cell": "hilum.study.upkeep:cell",
    "sweep": "hilum.study.upkeep:sweep",
    "collect": "hilum.study.commands:collect",
    "report": "hilum.study.report",  # a room that is called like the command
}

__all__ = [
    "cancel", "cell", "collect", "logs", "plan", "report", "retry", "run", "status", "sweep",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return find(_PLACES[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
