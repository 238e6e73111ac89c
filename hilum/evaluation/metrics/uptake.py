"""How well the uptake of a patient's nodes is measured: errors of TLG, SUVmax and SUVpeak."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .nodes import Row

HOTTEST = ("suv_max", "suv_peak")


def uptake_metrics(predicted: Sequence[Row], reference: Sequence[Row]) -> dict[str, float]:
    """Return the uptake of both masks and its errors; nothing if there is no PET.

    TLG is the sum over the nodes, 0 without a node. SUVmax and SUVpeak are those of the hottest
    node; without a node they are undefined, and so is their error.

    Args:
        predicted: Rows of `nodes.node_table` of one patient's predicted nodes, measured on PET.
        reference: The same of the reference.
    """
    rows = [*predicted, *reference]
    if rows and "tlg" not in rows[0]:
        return {}
    found: dict[str, float] = {}
    for name, prefix in (("", ""), ("reference", "reference_")):
        own = reference if name else predicted
        found[f"{prefix}tlg"] = math.fsum(_values(own, "tlg"))
        for key in HOTTEST:
            found[prefix + key] = max(_values(own, key), default=math.nan)
    for key in ("tlg", *HOTTEST):
        found[f"{key}_error"] = found[key] - found[f"reference_{key}"]
    return found


def _values(rows: Sequence[Row], key: str) -> list[float]:
    return [float(row[key]) for row in rows]  # pyright: ignore[reportArgumentType]
