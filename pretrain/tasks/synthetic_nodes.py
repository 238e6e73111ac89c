"""Synthetic nodes: paste lymph nodes into unlabelled scans, and segment them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple, Triple
from hilum.core.modality import modality
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output
from hilum.losses.dice_ce import DiceCeLoss

from ..base import PretextBatch, PretextTask
from ..parts.node_pasting import Pasted, paste
from ..parts.node_pool import check_places
from ..parts.node_recipe import USUAL, Recipe, check_sides, check_voxels


class SyntheticNodes(PretextTask):
    r"""Segment nodes that were pasted in, and leave alone what looks like one.

    Nodes of the sizes, lengths and roughness of real ones are pasted into fat between soft
    tissues, as dense as the case's soft tissue and as noisy as its scan, their uptake at its
    resolution and a few mm away. Decoys (nodules without uptake, uptake without a nodule, real foci
    copied elsewhere or erased) are background. Uptake that nobody pasted is unknown. The loss is
    cross-entropy plus Dice over known voxels; unknown ones count as background in a cross-entropy
    of the weight `unpasted`: most of them are organs, and few are nodes. Encoder, decoder and head
    can be handed on: a pasted node is a node.

    Source:
        Pasted lesions: Hu et al., "Label-Free Liver Tumor Segmentation", CVPR 2023,
        arXiv:2303.14869. Ours: two modalities, decoys, places, shapes by the statistics of real
        nodes, unknown voxels.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        spacing: mm per voxel, along depth, height, width.
        nodes: Most nodes of a patch.
        decoys: Most decoys of each kind.
        stations: Groups that the nodes of a patch lie in.
        spread_mm: Distance from the middle of a group, standard deviation along each axis, mm.
        short_mm: Smallest and largest short axis, mm.
        long_mm: Largest long axis, mm.
        misregistration_mm: Root mean square of the distance between CT and PET, mm.
        resolution_mm: Smallest and largest resolution (FWHM) of uptake, mm; the case decides.
        hilum: Fraction of nodes with a fatty hilum.
        necrosis: Fraction of nodes with a dead middle.
        confluent: Probability that a node grows into the one before it, of each second node.
        unknown: Uptake that is unknown unless pasted, as a fraction of the shown window (SUV 0 to
            8).
        family: Shapes of real nodes; or, as a control, `box` or `spiculated`.
        foreign: Whether density and uptake have rings, as a control.
        control: `shuffled` (uptake of another patch) or `noise` (noise in place of nodes).
        unpasted: Weight of unknown voxels as background; 0 leaves them out.
        deep_supervision: Whether coarser maps predict, too, as in fine-tuning.
    """

    citation = (
        "Hu, Q. and others",
        "Label-Free Liver Tumor Segmentation",
        "CVPR",
        2023,
        "arXiv:2303.14869",
    )
    small: ClassVar = {"spacing": [4, 4, 4], "nodes": 3, "decoys": 1, "short_mm": [4, 20]}

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        spacing: Sequence[float],
        nodes: int = USUAL.nodes,
        decoys: int = USUAL.decoys,
        stations: int = USUAL.stations,
        spread_mm: float = USUAL.spread_mm,
        short_mm: Sequence[float] = USUAL.short_mm,
        long_mm: float = USUAL.long_mm,
        misregistration_mm: float = USUAL.misregistration_mm,
        resolution_mm: Sequence[float] = USUAL.resolution_mm,
        hilum: float = USUAL.hilum,
        necrosis: float = USUAL.necrosis,
        confluent: float = USUAL.confluent,
        unknown: float = USUAL.unknown,
        family: str = USUAL.family,
        foreign: bool = USUAL.foreign,
        control: str = USUAL.control,
        unpasted: float = 0.5,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.modalities, self.spacing = tuple(modalities), _triple(spacing)
        self.recipe = validate(
            Recipe,
            {
                "nodes": nodes,
                "decoys": decoys,
                "stations": stations,
                "spread_mm": spread_mm,
                "short_mm": short_mm,
                "long_mm": long_mm,
                "misregistration_mm": misregistration_mm,
                "resolution_mm": resolution_mm,
                "hilum": hilum,
                "necrosis": necrosis,
                "confluent": confluent,
                "unknown": unknown,
                "family": family,
                "foreign": foreign,
                "control": control,
            },
        )
        if not 0 <= unpasted <= 1:
            raise SettingsError(
                "unpasted must be a weight of 0 to 1", found=unpasted, remedy="0.5 is the default"
            )
        self.unpasted = unpasted
        check_voxels(self.recipe, self.spacing)
        if control == "shuffled":
            self.least_batch = 2
        self.encoder = encoder
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, 2, deep_supervision, 0.01)
        self.criterion = DiceCeLoss()

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, its two terms, and the fractions of voxels that are node and unknown."""
        pasted = self.paste(batch)
        found = self.decoder(self.encoder(pasted.image))
        loss, terms = self.criterion(found, pasted.label)
        if self.unpasted:
            others = self.unpasted * as_background(found[0], pasted.label)
            loss, terms["unpasted"] = loss + others, others.detach()
        return loss, terms | {
            "pasted_share": (pasted.label == 1).float().mean(),
            "unknown_share": (pasted.label == IGNORE).float().mean(),
        }

    def outputs(self) -> tuple[Output, ...]:
        """Return background, and the node that was pasted."""
        return (
            Output(kind="class", name="background"),
            Output(kind="synthetic", name="node"),
        )

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, what was pasted in, the pasted nodes alone, and the prediction."""
        pasted = self.paste(batch)
        probability = self.decoder(self.encoder(pasted.image))[0].float().softmax(1)[:, 1:]
        ends = [rule.encode(torch.tensor(rule.show)) for rule in map(modality, self.modalities)]
        low, high = torch.stack(ends, 1).to(batch.image.device)[:, :, None, None, None]
        hidden = (pasted.label == IGNORE).expand(batch.image.shape)
        truth = low + (pasted.label == 1) * (high - low)
        return {
            "input": batch.image,
            "pasted": pasted.image,
            "nodes": truth.masked_fill(hidden, float("nan")),
            "predicted": low + probability * (high - low),
        }

    def paste(self, batch: PretextBatch) -> Pasted:
        """Return the batch with nodes and decoys in it, and the label."""
        return paste(batch, self.modalities, self.spacing, self.recipe)

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches that cannot hold the largest node across."""
        check_sides(self.recipe, patch, self.spacing)

    def check_pool(self, store: CaseStore, cases: Sequence[str]) -> None:
        """Refuse a pool where no node has a place, as of lung alone or without a body."""
        check_places(store, cases, self.modalities)

    def pool_notes(self, store: CaseStore, cases: Sequence[str]) -> list[str]:
        """Return how many cases get no decoys, which need structure and uptake."""
        alone = [name for name in cases if not self._is_paired(store.rows[name]["modalities"])]
        if not alone or not self.recipe.decoys:
            return []
        return [
            f"{len(alone)} of {len(cases)} cases of the pool have no pair of structure (CT, MR) "
            "and uptake (PET), so they get no decoys: one modality cannot tell them from nodes"
        ]

    def _is_paired(self, modalities: Sequence[str]) -> bool:
        scales = {modality(name).scale for name in modalities if name in self.modalities}
        return scales >= {"linear", "log"}


def as_background(scores: Tensor, label: Tensor) -> Tensor:
    """Return the cross-entropy of unknown voxels as background, over the number of known ones.

    So an unknown voxel weighs as much as a known one in the criterion's cross-entropy.

    Args:
        scores: Logits `[B, 2, D, H, W]`.
        label: `[B, 1, D, H, W]`, 255 where unknown.
    """
    surprise = -scores.float().log_softmax(1)[:, :1]
    unknown = label == IGNORE
    held = torch.where(unknown, surprise, surprise.new_zeros(()))
    return held.sum() / (~unknown).sum().clamp(min=1)


def _triple(values: Sequence[float]) -> Triple:
    if len(values) != 3 or min(values) <= 0:
        raise SettingsError("spacing must be three lengths above 0", found=list(values))
    depth, height, width = map(float, values)
    return depth, height, width
