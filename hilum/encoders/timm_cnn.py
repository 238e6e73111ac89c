"""A 2D convolutional network of timm, inflated to 3D."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import timm
from torch import Tensor

from hilum.core.errors import CheckpointError, SettingsError, did_you_mean
from hilum.core.weights import read_weights

from .activation_checkpointing import recompute
from .base import Encoder, preset
from .inflate import inflate

MODELS = (
    "resnet10t",
    "resnet14t",
    "resnet18",
    "resnet26d",
    "resnet34",
    "resnet50",
    "resnet50d",
    "wide_resnet50_2",
    "resnetv2_50",
    "resnext50_32x4d",
    "seresnext26d_32x4d",
    "regnetx_002",
    "regnetx_008",
    "regnety_002",
    "regnety_008",
    "convnext_atto",
    "convnext_tiny",
    "convnextv2_atto",
    "convnextv2_nano",
    "efficientnet_b0",
    "efficientnetv2_rw_t",
    "mobilenetv2_100",
    "mobilenetv3_small_100",
    "mobilenetv3_large_100",
    "mnasnet_100",
    "densenet121",
    "dla34",
    "hrnet_w18_small",
)
"""Networks whose inflation is exact on volumes that do not change along the depth (tested).

Exact in every slice, the first and the last included, and up to the borders of the plane, where
both networks see the same zeros.
"""


SIZES = {"tiny": "resnet10t", "small": "resnet18", "base": "resnet50"}
"""Network of each size."""


class TimmCnnEncoder(Encoder):
    """Features of a timm network, inflated: strides 2, 4, 8, 16, 32, or from 4 in ConvNeXt.

    Nothing is downloaded: for pretrained weights give a local `.safetensors` file with timm's keys.

    Source:
        Wightman, PyTorch Image Models; inflation as in `encoders.inflate`.

    Args:
        in_channels: Channels of the image; a pretrained RGB stem is summed or tiled as timm does.
        size: `tiny`, `small` or `base`: one of `SIZES`.
        model: Name in timm, one of `MODELS`; replaces the size's.
        kernels: `mean` repeats a 2D kernel along the depth and divides it by the depth; `centre`
            puts it into the middle, zeros next to it, so that slices do not mix at first.
        weights: Local file with 2D weights, or none for a random start.
        checkpoint_activations: Whether to compute stages again in the backward pass, for memory.
    """

    citation = ("Wightman, R.", "PyTorch Image Models", "", 2019, "doi:10.5281/zenodo.4414861")
    note = "sizes are networks of timm; others by `model`"
    sizes: ClassVar = {
        "tiny": (14_411_008, (2, 4, 8, 16, 32)),
        "small": (33_181_952, (2, 4, 8, 16, 32)),
        "base": (46_177_024, (2, 4, 8, 16, 32)),
    }
    small: ClassVar = {"model": "resnet10t"}

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "small",
        model: str | None = None,
        kernels: str = "mean",
        weights: str | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        model = model or preset(size, SIZES)
        if model not in MODELS:
            raise SettingsError(
                f"{model!r} cannot be inflated{did_you_mean(model, MODELS)}",
                remedy=f"choose from {', '.join(MODELS)}",
            )
        if kernels not in ("mean", "centre"):
            raise SettingsError(
                "kernels must be mean or centre", found=repr(kernels), remedy="choose one of them"
            )
        flat = timm.create_model(model, pretrained=False, features_only=True, in_chans=in_channels)
        if weights is not None:
            _load(flat, Path(weights), model, in_channels)
        reductions = [int(r) for r in flat.feature_info.reduction()]  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        channels = [int(c) for c in flat.feature_info.channels()]  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        self.inner = inflate(flat, kernels)
        if checkpoint_activations:
            # Some wrappers call what lies inside `blocks`, not `blocks` itself.
            parts = getattr(self.inner, "blocks", self.inner)
            recompute(part for part in parts.children() if list(part.children()))
        self.in_channels, self.channels = in_channels, tuple(channels)
        self.strides = tuple((r, r, r) for r in reductions)
        self.stem = tuple(
            name
            for name, value in self.named_parameters()
            if value.ndim == 5 and value.shape[1] == in_channels
        )[:1]

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per stage."""
        return list(self.inner(image))


def _load(flat: object, file: Path, model: str, in_channels: int) -> None:
    """Load 2D weights of the whole network into its feature part, the stem adapted."""
    from timm.models import adapt_input_conv

    weights, own = read_weights(file), flat.state_dict()  # pyright: ignore[reportAttributeAccessIssue]
    # A wrapper for features names `layer1.0` as `layer1.0` or `layer1_0`, by the family.
    found = {key: weights.get(key, weights.get(key.replace("_", ".", 1))) for key in own}
    stem = next(key for key, value in own.items() if value.ndim == 4)
    first = found[stem]
    if first is not None and first.ndim == 4 and first.shape[1] == 3:
        found[stem] = adapt_input_conv(in_channels, first)
    missing = [k for k, v in found.items() if v is None or v.shape != own[k].shape]
    if missing:
        raise CheckpointError(
            f"the weights must be those of timm's {model}",
            file=file,
            found=f"{len(missing)} of {len(own)} tensors missing, such as {missing[0]}",
            remedy="download the weights of this very model",
        )
    flat.load_state_dict(found)  # pyright: ignore[reportAttributeAccessIssue]
