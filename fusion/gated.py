"""Gated fusion: at every level a learned fraction of each modality, per channel or per voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import Maps, common_pyramid, encode, masked_mean, presence


class GatedFusion(FusionStrategy):
    r"""Weigh the modalities against each other by gates that look at all of them.

    $$F = \sum_m g_m F_m, \quad g = \operatorname{softmax}_{m: a_m = 1}(W_m [F_m; \bar F] + b_m),$$

    where $\bar F$ is the mean over the available modalities, and `channel` gates see averages over
    the volume. For two modalities the softmax is the usual sigmoid gate. The gates start equal: at
    step 0 this is mean fusion.

    Source:
        Arevalo et al., "Gated Multimodal Units", ICLR workshop 2017, arXiv:1702.01992; the softmax
        over what is available is ours.

    Args:
        gate: `voxel`, one share per voxel, or `channel`, one per channel and case.
    """

    citation = (
        "Arevalo, J. and others",
        "Gated Multimodal Units for Information Fusion",
        "ICLR Workshop",
        2017,
        "arXiv:1702.01992",
    )

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        gate: Literal["voxel", "channel"] = "voxel",
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        channels, strides = common_pyramid([encoders[m] for m in self.modalities])
        self.decoder, self.gate = make_decoder(channels, strides), gate
        self.gates = nn.ModuleDict(
            {
                f"{name}_{level}": _zero(2 * c, 1 if gate == "voxel" else c)
                for level, c in enumerate(channels)
                for name in self.modalities
            }
        )

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, weigh level by level, decode."""
        check_available(available)
        present = presence(self, available)
        fused = []
        for level, maps in enumerate(encode(self, volumes, present)):
            share = self.shares(level, maps, present)
            fused.append(
                sum(
                    torch.where(present[name], share[name] * x, torch.zeros_like(x))
                    for name, x in maps.items()
                )
            )
        return self.decoder(fused)

    def insight(self, volumes: Volumes, available: Available) -> dict[str, Tensor]:
        """Return the gate of each modality at the finest level, the mean over channels."""
        present = presence(self, available)
        maps = encode(self, volumes, present)[0]
        share = self.shares(0, maps, present)
        flat = {name: x.mean(1, keepdim=True) for name, x in share.items()}
        whole = next(iter(maps.values()))[:, :1]
        return {f"gate_{name}": x.expand_as(whole) for name, x in flat.items()}

    def shares(self, level: int, maps: Maps, present: Mapping[str, Tensor]) -> Maps:
        """Return the gate of each modality, which sum to 1 over those that a case has.

        Args:
            level: Of the pyramid, 0 is the finest.
            maps: Feature maps of that level.
            present: Availability of each modality.
        """
        context = masked_mean(maps, present)
        scores = []
        for name, x in maps.items():
            seen = torch.cat([torch.where(present[name], x, torch.zeros_like(x)), context], 1)
            if self.gate == "channel":
                seen = seen.mean((2, 3, 4), keepdim=True)
            score = self.gates[f"{name}_{level}"](seen)
            lowest = torch.full_like(score, -torch.inf)
            scores.append(torch.where(present[name], score, lowest))
        share = torch.stack(scores).softmax(0)
        return dict(zip(maps, share, strict=True))


def _zero(channels: int, out: int) -> nn.Conv3d:
    layer = nn.Conv3d(channels, out, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # pyright: ignore[reportArgumentType]
    return layer
