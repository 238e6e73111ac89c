"""Metrics of each station: every node, found, missed or false, counts at one station."""

from __future__ import annotations

from collections.abc import Sequence

from .node_record import NodeRecord
from .pairs import Pair

NOWHERE = "no station"


def by_station(
    predicted: Sequence[NodeRecord], reference: Sequence[NodeRecord], pairs: Sequence[Pair]
) -> dict[str, dict[str, float]]:
    """Return the sums of one class of a case by station; over stations they add up to the case.

    A node of the reference counts at its own station, with the voxels that predictions share with
    it. A predicted node counts where the node lies that it found or shares most voxels with, else
    at its own station: so an outline beyond the border of a station is no error at the next one.

    Args:
        predicted: Nodes with stations.
        reference: The same.
        pairs: Of these nodes.

    Returns:
        By station: `lesion_tp`, `lesion_fp`, `lesion_fn`, and in ml `intersection_ml`,
        `volume_ml`, `reference_volume_ml`.
    """
    ours, theirs = ({node.id: node for node in nodes} for nodes in (predicted, reference))
    place = {number: _station(node) for number, node in theirs.items()}
    found: dict[str, dict[str, float]] = {}
    left = {number: node.volume_ml for number, node in ours.items()}
    at: dict[int, tuple[tuple[bool, float], str]] = {}
    hits: set[int] = set()
    for pair in pairs:
        if pair.prediction is None or pair.reference is None:
            continue
        one, other = ours[pair.prediction], theirs[pair.reference]
        shared = pair.dice * (one.volume_ml + other.volume_ml) / 2
        counts = "f1agg" in pair.counted_by
        if counts:
            hits.add(pair.reference)
        own = _sums(found, place[pair.reference])
        own["intersection_ml"] += shared
        own["volume_ml"] += shared
        left[pair.prediction] -= shared
        near = (counts, shared), place[pair.reference]
        at[pair.prediction] = max(at.get(pair.prediction, near), near)
    for number, node in theirs.items():
        own = _sums(found, place[number])
        own["lesion_tp" if number in hits else "lesion_fn"] += 1
        own["reference_volume_ml"] += node.volume_ml
    for number, node in ours.items():
        (counts, _), station = at.get(number, ((False, 0.0), _station(node)))
        own = _sums(found, station)
        own["volume_ml"] += left[number]
        own["lesion_fp"] += not counts
    return found


def _station(node: NodeRecord) -> str:
    return node.station or NOWHERE


def _sums(found: dict[str, dict[str, float]], station: str) -> dict[str, float]:
    names = ("lesion_tp", "lesion_fp", "lesion_fn", "intersection_ml", "volume_ml")
    return found.setdefault(station, dict.fromkeys((*names, "reference_volume_ml"), 0.0))
