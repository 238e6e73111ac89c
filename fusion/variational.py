"""Variational fusion: a Gaussian per modality at every level, multiplied over what is available."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from hilum.core.types import Available

from .base import FusionStrategy, MakeDecoder, Volumes, check_available
from .pyramids import Maps, common_pyramid, encode, presence


class VariationalFusion(FusionStrategy):
    r"""Each modality gives a mean and a variance per voxel and channel; experts are multiplied.

    With precisions $\lambda_m = e^{-\log \sigma_m^2}$ and a standard normal prior,

    $$\mu = \frac{\sum_m a_m \lambda_m \mu_m}{1 + \sum_m a_m \lambda_m}, \qquad
      \sigma^2 = \frac{1}{1 + \sum_m a_m \lambda_m}.$$

    Training decodes a sample, prediction the mean. `penalty()` is the Kullback-Leibler divergence
    from the prior, times `weight`; there is no reconstruction of the images.

    Source:
        Dorent et al., "Hetero-Modal Variational Encoder-Decoder" (U-HVED), MICCAI 2019,
        arXiv:1907.11150, equations 3 and 4.

    Args:
        weight: Of the divergence, against the loss of the segmentation.
        start: Log variance at the start; small, so that training does not begin in noise.
    """

    citation = (
        "Dorent, R. and others",
        "Hetero-Modal Variational Encoder-Decoder",
        "MICCAI",
        2019,
        "arXiv:1907.11150",
    )

    def __init__(
        self,
        *,
        modalities: Sequence[str],
        encoders: Mapping[str, nn.Module],
        make_decoder: MakeDecoder,
        weight: float = 1e-3,
        start: float = -4.0,
    ) -> None:
        super().__init__(modalities=modalities, encoders=encoders, make_decoder=make_decoder)
        if weight < 0:
            raise ValueError(f"weight must not be negative, got {weight}")
        channels, strides = common_pyramid([encoders[m] for m in self.modalities])
        self.decoder, self.weight = make_decoder(channels, strides), weight
        self.experts = nn.ModuleDict(
            {
                f"{name}_{level}": _expert(c, start)
                for level, c in enumerate(channels)
                for name in self.modalities
            }
        )
        self._divergence: Tensor | None = None

    def forward(self, volumes: Volumes, available: Available) -> list[Tensor]:
        """Encode each modality, multiply the experts level by level, decode."""
        check_available(available)
        present = presence(self, available)
        fused, divergences = [], []
        for level, maps in enumerate(encode(self, volumes, present)):
            mean, precision = self.posterior(level, maps, present)
            # log(1 / precision) is the log variance.
            divergences.append(0.5 * (1 / precision + mean.square() - 1 + precision.log()).mean())
            sample = torch.randn_like(mean) * precision.rsqrt() if self.training else 0
            fused.append((mean + sample).to(next(iter(maps.values())).dtype))
        self._divergence = torch.stack(divergences).mean()
        return self.decoder(fused)

    def posterior(
        self, level: int, maps: Maps, present: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return mean and precision of the product of the available experts and the prior."""
        weighted: Tensor | float = 0.0
        precision: Tensor | float = 1.0
        for name, x in maps.items():
            mean, log_variance = self.experts[f"{name}_{level}"](x).float().chunk(2, 1)
            own = torch.exp(-log_variance.clamp(-10, 10))
            own = torch.where(present[name], own, torch.zeros_like(own))
            precision, weighted = precision + own, weighted + own * mean
        return weighted / precision, precision  # pyright: ignore[reportReturnType]

    def penalty(self) -> dict[str, Tensor]:
        """Return the weighted divergence of the last forward pass."""
        if self._divergence is None or not self.weight:
            return {}
        return {"divergence": self.weight * self._divergence}


def _expert(channels: int, start: float) -> nn.Conv3d:
    """Return a 1x1x1 convolution to means, at first the map itself, and log variances."""
    layer = nn.Conv3d(channels, 2 * channels, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:channels, :, 0, 0, 0] = torch.eye(channels)
        layer.bias.zero_()  # pyright: ignore[reportOptionalMemberAccess]
        layer.bias[channels:] = start  # pyright: ignore[reportOptionalSubscript]
    return layer
