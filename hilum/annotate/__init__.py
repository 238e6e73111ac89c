"""The labelling loop. Each command of `hilum annotate` is a function of this room."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hilum.core.callable_module import find

if TYPE_CHECKING:
    from .planning.plan import plan as plan
    from .proposing.propose import propose as propose
    from .standing.status import status as status
    from .taking.take import take as take

_PLACES = {
    "plan": "hilum.annotate.planning.plan:plan",
    "propose": "hilum.annotate.proposing.propose:propose",
    "status": "hilum.annotate.standing.status:status",
    "take": "hilum.annotate.taking.take:take",
}

__all__ = ["plan", "propose", "status", "take"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return find(_PLACES[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
