"""How well the uptake of a patient's nodes is measured: errors of TLG, SUVmax and SUVpeak."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .node_record import NodeRecord

HOTTEST = ("suv_max", "suv_peak")


def uptake_metrics(
    predicted: Sequence[NodeRecord], reference: Sequence[NodeRecord]
) -> dict[str, float]:
    """Return the uptake of both masks of a case that has a PET, and its errors.

    TLG is the sum over the nodes, 0 without a node. SUVmax and SUVpeak are those of the hottest
    node; without a node they are undefined, and so is their error. A node beyond the PET has no
    uptake: it makes TLG undefined, and the hottest node is one of the others.

    Args:
        predicted: Of `nodes.node_table` of one patient's predicted nodes, measured on PET.
        reference: The same of the reference.
    """
    found: dict[str, float] = {}
    for nodes, prefix in ((predicted, ""), (reference, "reference_")):
        values = [math.nan if node.tlg is None else node.tlg for node in nodes]
        found[f"{prefix}tlg"] = math.fsum(values)
        for key in HOTTEST:
            known = [value for node in nodes if (value := getattr(node, key)) is not None]
            found[prefix + key] = max(known, default=math.nan)
    for key in ("tlg", *HOTTEST):
        found[f"{key}_error"] = found[key] - found[f"reference_{key}"]
    return found
