"""What the predictions of a network are: of one that never saw a label, proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hilum.core.notes import Note
from hilum.evaluation.metrics.node_record import NodeRecord

from .predictor import Predictor

STATUS = "proposal"
TITLE = "PROPOSALS of a network without labels"
"""First line of pictures, after the name of the case."""


def are_proposals(model: Predictor) -> bool:
    """Return whether a network that takes part never saw a label."""
    members = [one for one in model.networks if isinstance(one, Predictor)]
    return any(one.config.extra.get("status") == STATUS for one in members)


def with_status(nodes: Sequence[NodeRecord], model: Predictor) -> list[NodeRecord]:
    """Return nodes that say of themselves that they are proposals, if they are."""
    return [replace(node, status=STATUS) for node in nodes] if are_proposals(model) else list(nodes)


def proposal_notes(model: Predictor, case: str) -> list[Note]:
    """Return what the user must know of a prediction by such a network, or nothing."""
    if not are_proposals(model):
        return []
    text = "the network learned from pasted nodes, without labels: masks and nodes are proposals"
    return [Note("warning", "proposals of a network without labels", text, case)]
