"""A 2D vision transformer (DINOv2) on each slice, and a convolution that joins the slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Dinov2Backbone, Dinov2Config

from ..core.errors import CheckpointError
from .base import Encoder


class VitSlicesEncoder(Encoder):
    """Slices are folded into the batch, a DINOv2 sees each one, a 3D pyramid is made of its tokens.

    The tokens of the last block are brought to strides 4, 8 and 16 in the plane and mixed along the
    depth by a depth-wise convolution that starts as the identity, so a new encoder sees slices one
    by one. A finest level, which no patch of 14 or 16 pixels resolves, is a plain convolution of
    the image.

    Source:
        Oquab et al., "DINOv2", TMLR 2024, arXiv:2304.07193, through `transformers`. The pyramid
        from one scale is that of Li et al., "ViTDet", ECCV 2022, arXiv:2203.16527, section 3;
        mixing along the depth is ours.

    Args:
        in_channels: Channels of the image; up to 3 use the pretrained stem's mean kernel.
        width: Channels of the transformer.
        depth: Its blocks.
        heads: Its attention heads.
        features: Channels of the pyramid's levels at strides 1, 4, 8, 16.
        weights: Local folder of a DINOv2 in HuggingFace's format (safetensors), or none.
    """

    TOKEN = 16

    def __init__(
        self,
        *,
        in_channels: int,
        width: int = 96,
        depth: int = 4,
        heads: int = 3,
        features: Sequence[int] = (16, 32, 64, 96),
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.vit = _backbone(in_channels, width, depth, heads, weights)
        width = int(self.vit.config.hidden_size)
        self.fine = nn.Sequential(
            nn.Conv3d(in_channels, features[0], 3, padding=1),
            nn.InstanceNorm3d(features[0], affine=True),
            nn.LeakyReLU(inplace=True),
        )
        self.levels = nn.ModuleList([nn.Conv2d(width, count, 1) for count in features[1:]])
        self.mixers = nn.ModuleList([_mixer(count) for count in features[1:]])
        self.in_channels, self.channels = in_channels, tuple(features)
        # The pyramid's depth is pooled as its plane is, so that a 3D decoder meets cubes.
        self.strides = ((1, 1, 1), (4, 4, 4), (8, 8, 8), (16, 16, 16))
        self.stem = (
            "vit.embeddings.patch_embeddings.projection.weight",
            "fine.0.weight",
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level."""
        batch, _, depth, height, width = image.shape
        slices = rearrange(image, "b c d h w -> (b d) c h w")
        # DINOv2's tokens are 14 pixels wide: the plane is brought to a whole number of them.
        token = int(self.vit.embeddings.patch_embeddings.patch_size[0])
        rows, columns = height // self.TOKEN, width // self.TOKEN
        slices = F.interpolate(slices, (rows * token, columns * token), mode="bilinear")
        tokens = self.vit(slices).feature_maps[-1]
        maps = [self.fine(image)]
        for stride, level, mixer in zip((4, 8, 16), self.levels, self.mixers, strict=True):
            plane = F.interpolate(
                level(tokens), (height // stride, width // stride), mode="bilinear"
            )
            volume = rearrange(plane, "(b d) c h w -> b c d h w", b=batch, d=depth)
            maps.append(mixer(F.avg_pool3d(volume, (stride, 1, 1))))
        return maps


def _mixer(channels: int) -> nn.Conv3d:
    """Return a convolution along the depth that starts as the identity."""
    conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0), groups=channels)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[:, :, 1] = 1
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


def _backbone(
    in_channels: int, width: int, depth: int, heads: int, weights: str | None
) -> Dinov2Backbone:
    if weights is None:
        config = Dinov2Config(
            num_channels=in_channels,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            patch_size=14,
            image_size=224,
        )
        return Dinov2Backbone(config)
    if not (Path(weights) / "model.safetensors").exists():
        raise CheckpointError(
            "the folder must hold config.json and model.safetensors of a DINOv2",
            file=weights,
            remedy="download it with huggingface_hub, and give the folder",
        )
    # The concrete class: AutoBackbone asks the hub even for a local folder.
    vit = Dinov2Backbone.from_pretrained(weights, local_files_only=True, use_safetensors=True)
    projection = vit.embeddings.patch_embeddings.projection
    if projection.in_channels != in_channels:
        # The mean over colours, shared out over the channels, keeps the size of the response.
        kernel = projection.weight.data.sum(1, keepdim=True) / in_channels
        token = projection.kernel_size[0]
        new = nn.Conv2d(in_channels, projection.out_channels, kernel_size=token, stride=token)
        new.weight.data.copy_(kernel.repeat(1, in_channels, 1, 1))
        if new.bias is not None and projection.bias is not None:
            new.bias.data.copy_(projection.bias.data)
        vit.embeddings.patch_embeddings.projection = new
        vit.embeddings.patch_embeddings.num_channels = in_channels
        vit.config.num_channels = in_channels
    return vit
