"""Synthetic nodes: paste lymph nodes into unlabelled scans, and segment them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple, Triple
from hilum.core.modality import modality
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import Output
from hilum.losses.dice_ce import DiceCeLoss

from ..base import PretextBatch, PretextTask
from ..parts.node_pasting import Pasted, Recipe, paste
from ..parts.node_pool import check_places

Range = tuple[float, float]


class SyntheticNodes(PretextTask):
    r"""Segment nodes that were pasted in, and leave alone what looks like one.

    Nodes of the sizes, lengths and roughness of real ones are pasted into fat between soft
    tissues, as dense as the case's soft tissue and as noisy as its scan, their uptake at its
    resolution and a few mm away. Decoys (nodules without uptake, uptake without a nodule, real foci
    copied elsewhere or erased) are background. Uptake that nobody pasted is unknown. The loss is
    cross-entropy plus Dice over known voxels. Encoder, decoder and head can be handed on: a pasted
    node is a node.

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
        short_mm: Least and greatest short axis, mm.
        long_mm: Greatest long axis, mm.
        misregistration_mm: Root mean square of the distance between CT and PET, mm.
        resolution_mm: Least and greatest resolution (FWHM) of uptake, mm; the case decides.
        hilum: Share of nodes with a fatty hilum.
        necrosis: Share of nodes with a dead middle.
        confluent: Chance that a node grows into the one before it, of each second node.
        unknown: Uptake that is unknown unless pasted, as a share of the shown window (SUV 0 to 8).
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
        nodes: int = 6,
        decoys: int = 2,
        stations: int = 2,
        spread_mm: float = 12.0,
        short_mm: Sequence[float] = (4.0, 30.0),
        long_mm: float = 60.0,
        misregistration_mm: float = 4.0,
        resolution_mm: Sequence[float] = (4.0, 9.0),
        hilum: float = 0.15,
        necrosis: float = 0.12,
        confluent: float = 0.3,
        unknown: float = 0.3,
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        self.modalities, self.spacing = tuple(modalities), _triple(spacing)
        _check(nodes, decoys, stations, (hilum, necrosis, confluent), hilum + necrosis)
        for name, value in (("spread_mm", spread_mm), ("misregistration_mm", misregistration_mm)):
            if not value >= 0:
                raise SettingsError(f"{name} must be at least 0", found=value)
        if not unknown > 0:
            raise SettingsError("unknown must be above 0", found=unknown)
        sizes = _range("short_mm", short_mm)
        if sizes[1] < 2 * max(self.spacing):
            raise SettingsError(
                "the greatest node must be two voxels wide",
                found=f"short_mm up to {sizes[1]:g}, voxels of {max(self.spacing):g} mm",
                remedy="enlarge task.short_mm, or prepare the store at a finer spacing",
            )
        if long_mm < sizes[1]:
            raise SettingsError(
                "the long axis must be allowed to be as long as the short one",
                found=f"long_mm {long_mm:g}, short_mm up to {sizes[1]:g}",
                remedy="enlarge task.long_mm",
            )
        self.recipe = Recipe(
            nodes,
            decoys,
            stations,
            spread_mm,
            sizes,
            long_mm,
            misregistration_mm,
            _range("resolution_mm", resolution_mm),
            hilum,
            necrosis,
            confluent,
            unknown,
        )
        self.encoder = encoder
        self.decoder = PyramidDecoder(encoder.channels, encoder.strides, 2, deep_supervision, 0.01)
        self.criterion = DiceCeLoss()

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, its two terms, and the shares of voxels that are node and unknown."""
        pasted = self.paste(batch)
        loss, terms = self.criterion(self.decoder(self.encoder(pasted.image)), pasted.label)
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
        """Refuse patches that cannot hold the greatest node across."""
        sides = [side * step for side, step in zip(patch, self.spacing, strict=True)]
        if self.recipe.short_mm[1] > min(sides):
            raise SettingsError(
                "a patch must be wider than the greatest node",
                found=f"short_mm up to {self.recipe.short_mm[1]:g}, a patch of "
                + " x ".join(f"{side:g}" for side in sides)
                + " mm",
                remedy="lower task.short_mm or enlarge patch",
            )

    def check_pool(self, store: CaseStore, cases: Sequence[str]) -> None:
        """Refuse a pool where no node has a place, as of lung alone or without a body."""
        check_places(store, cases, self.modalities)


def _check(nodes: int, decoys: int, stations: int, shares: Sequence[float], both: float) -> None:
    if nodes < 1 or stations < 1 or decoys < 0:
        raise SettingsError(
            "nodes and stations must be at least 1, decoys at least 0",
            found=f"{nodes}, {stations}, {decoys}",
        )
    if not all(0 <= value <= 1 for value in shares) or both > 1:
        raise SettingsError(
            "hilum, necrosis and confluent must be shares of 0 to 1, the first two together too",
            found=", ".join(f"{value:g}" for value in shares),
        )


def _range(name: str, values: Sequence[float]) -> Range:
    if len(values) != 2 or not 0 < values[0] <= values[1]:
        raise SettingsError(
            f"{name} must be two lengths above 0, the lesser first", found=list(values)
        )
    return float(values[0]), float(values[1])


def _triple(values: Sequence[float]) -> Triple:
    if len(values) != 3 or min(values) <= 0:
        raise SettingsError("spacing must be three lengths above 0", found=list(values))
    depth, height, width = map(float, values)
    return depth, height, width
