"""Whether a store is still what it was when somebody began to read it."""

from __future__ import annotations

from collections.abc import Callable

from hilum.core.errors import UserError

from .case_store import CaseStore


def changed_since(store: CaseStore, say: Callable[[str], None]) -> dict[str, str]:
    """Say so if labels or scans of a store changed under a run that has read it.

    Returns:
        For the run's summary: the fingerprint that the store has now, if it is another one.
    """
    try:
        now = CaseStore(store.place).fingerprint
    except UserError as error:
        now = f"unreadable: {error}"
    if now == store.fingerprint:
        return {}
    say(
        f"warning: {store.path} changed while the run read it: some patches may have had new "
        "labels, others old ones; run it again in a new folder"
    )
    return {"store_changed_to": now}
