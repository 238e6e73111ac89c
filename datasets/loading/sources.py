"""How many patches come from each of several stores that are used as one."""

from __future__ import annotations

from collections.abc import Mapping

from hilum.core.errors import SettingsError, did_you_mean

from ..store.case_store import CaseStore

Source = tuple[str, float, tuple[str, ...]]
"""Name of a store, its share of what the stores before it leave, 0 to 1, and its cases."""


def check_weights(store: CaseStore, weights: Mapping[str, float]) -> None:
    """Raise an error unless there is a weight above 0 for every store of a pool, or none at all.

    Raises:
        SettingsError: If a name is no store of the pool, one has no weight, or one is not above 0.
    """
    place = store.place
    known = list(place) if isinstance(place, Mapping) else []
    for name, weight in weights.items():
        if name not in known:
            raise SettingsError(
                f"weights.{name} must name a store of the pool{did_you_mean(name, known)}",
                found=", ".join(known) or "one store without a name",
                remedy="name the stores, as in store.a=FOLDER store.b=FOLDER",
            )
        if not 0 < weight < float("inf"):
            raise SettingsError(
                f"weights.{name} must be above 0",
                found=weight,
                remedy="leave the store out of the pool instead",
            )
    missing = [name for name in known if weights and name not in weights]
    if missing:
        raise SettingsError(
            "every store of the pool needs a weight, or none",
            found=f"none for {', '.join(missing)}",
            remedy=f"as in weights.{missing[0]}=1",
        )


def sources(store: CaseStore, weights: Mapping[str, float], cases: tuple[str, ...]) -> list[Source]:
    """Return the stores that cases are drawn from by weight, in order; none without weights.

    A store without any of the cases takes no part, and its weight goes to the others.
    """
    if not weights:
        return []
    own: dict[str, list[str]] = {}
    for name in cases:
        own.setdefault(str(store.row(name).get("source", "")), []).append(name)
    left, found = sum(weights[name] for name in own), []
    for number, (name, held) in enumerate(own.items(), 1):
        share = 1.0 if number == len(own) else weights[name] / left
        found.append((name, share, tuple(held)))
        left -= weights[name]
    return found
