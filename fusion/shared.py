"""One shared encoder whose norm layers know which modality they see, and features averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, blank, check_available
from .pyramids import masked_mean, presence

NORMS = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.GroupNorm, nn.LayerNorm),
)


class SharedFusion(FusionStrategy):
    r"""Encode every modality by the same weights, with a scale and a shift of its own per norm.

    After each norm layer of the encoder, $y \leftarrow (1 + s_m) \odot y + t_m$; $s$ and $t$ start
    at zero. The maps are averaged over the modalities that a case has. The encoder has the
    parameters of one network, so it fits one that was pretrained on whatever modality there was
    most of; all modalities pass through it as one batch.

    Source:
        Modality-specific norms in a shared network as in Dou et al., "Unpaired Multi-modal
        Segmentation via Knowledge Distillation", IEEE TMI 2020, arXiv:2001.03111. Ours keeps the
        norm's own affine and adds to it, so that the encoder's keys stay as they are.
    """

    citation = (
        "Dou, Q. and others",
        "Unpaired Multi-modal Segmentation via Knowledge Distillation",
        "IEEE TMI",
        2020,
        "arXiv:2001.03111",
    )

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        encoder = encoders["shared"]
        self.decoder = make_decoder(encoder.channels, encoder.strides)  # pyright: ignore[reportArgumentType]
        self.scale, self.shift = nn.ParameterDict(), nn.ParameterDict()
        norms = [(key, norm) for key, norm in encoder.named_modules() if isinstance(norm, NORMS)]
        for key, norm in norms:
            place = key.replace(".", "_")
            for name in self.modalities:
                channels = _channels(norm)
                self.scale[f"{name}_{place}"] = nn.Parameter(torch.zeros(channels))
                self.shift[f"{name}_{place}"] = nn.Parameter(torch.zeros(channels))
            norm.register_forward_hook(_Modulate(self, place))

    @classmethod
    def inputs(cls, modalities: Sequence[str], **params: object) -> dict[str, tuple[str, ...]]:
        """Return one encoder with one channel; it is named after the first modality's weights."""
        return {"shared": (modalities[0],)}

    @classmethod
    def sees(cls, modalities: Sequence[str], **params: object) -> tuple[str, ...]:
        """Return every modality: all of them pass through the one encoder."""
        return tuple(modalities)

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode all modalities in one batch, average, decode."""
        check_available(available)
        present = presence(self, available)
        stacked = torch.cat([blank(volumes[m], present[m]) for m in self.modalities])
        fused = []
        for x in self.encoders["shared"](stacked):
            parts = x.chunk(len(self.modalities))
            fused.append(masked_mean(dict(zip(self.modalities, parts, strict=True)), present))
        return self.decoder(fused)


class _Modulate:
    """Scales and shifts the output of one norm; the batch holds one block per modality.

    Which rows belong to which modality follows from their number alone, so that a recomputed
    forward pass (activation checkpointing) finds the same.
    """

    def __init__(self, strategy: SharedFusion, place: str) -> None:
        # In a list, or the encoder would hold the strategy that holds it.
        self.strategy, self.place = [strategy], place

    def __call__(self, norm: nn.Module, inputs: object, out: Tensor) -> Tensor:
        strategy = self.strategy[0]
        keys = [f"{name}_{self.place}" for name in strategy.modalities]
        scale = torch.stack([strategy.scale[key] for key in keys])
        shift = torch.stack([strategy.shift[key] for key in keys])
        last = isinstance(norm, nn.LayerNorm)
        rows = out.unflatten(0, (len(keys), -1))
        shape = [len(keys), 1, *([1] * (rows.ndim - 3)), -1] if last else [
            len(keys), 1, -1, *([1] * (rows.ndim - 3))
        ]  # fmt: skip
        return (rows + rows * scale.view(shape) + shift.view(shape)).flatten(0, 1)


def _channels(norm: nn.Module) -> int:
    if isinstance(norm, nn.GroupNorm):
        return norm.num_channels
    if isinstance(norm, nn.LayerNorm):
        return norm.normalized_shape[-1]
    return norm.num_features  # pyright: ignore[reportReturnType, reportAttributeAccessIssue]
