"""A 2D vision transformer (DINOv2) on each slice, and a convolution that joins the slices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Dinov2Backbone, Dinov2Config

from hilum.core.errors import CheckpointError, SettingsError

from .activation_checkpointing import recompute
from .base import Encoder, preset

SIZES: dict[str, tuple[int, int, int, tuple[int, ...]]] = {
    "tiny": (96, 4, 3, (16, 32, 64, 96)),
    "small": (384, 12, 6, (16, 64, 128, 256)),
    "base": (768, 12, 12, (32, 128, 256, 512)),
}
"""Width, depth, heads, and channels of the levels."""


class VitSlicesEncoder(Encoder):
    """A DINOv2 sees each slice, and a 3D pyramid is made of its tokens.

    The tokens of the last block are brought to strides 4, 8 and 16 in the plane and mixed along the
    depth by a depth-wise convolution that starts as the identity, so a new encoder sees slices one
    by one. A finest level, which no patch of 14 or 16 pixels resolves, is a plain convolution of
    the image.

    Source:
        Oquab et al., "DINOv2", TMLR 2024, arXiv:2304.07193, through `transformers`. The pyramid
        from one scale is that of Li et al., "ViTDet", ECCV 2022, arXiv:2203.16527, section 3;
        mixing along the depth is ours.

    Args:
        in_channels: Channels of the image; a pretrained stem's sum over colours is shared out.
        size: `tiny`, `small` or `base`; the latter two are DINOv2's S and B.
        width: Channels of the transformer; replaces the size's.
        depth: Its blocks; replaces the size's.
        heads: Its attention heads; replaces the size's.
        side: Side in pixels of the images that its position embedding is made for: 518 for the
            published DINOv2. Other sides are interpolated.
        features: Channels of the levels at strides 1, 4, 8, 16; replaces the size's.
        weights: Local folder of a DINOv2 in HuggingFace's format (safetensors), or none. The other
            parameters must say what it holds, so that they alone can build the encoder again.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = ("Oquab, M. and others", "DINOv2", "TMLR", 2024, "arXiv:2304.07193")
    note = "any plane; positions are interpolated"
    sizes: ClassVar = {
        "tiny": (531_120, (1, 4, 8, 16)),
        "small": (21_728_720, (1, 4, 8, 16)),
        "base": (86_268_832, (1, 4, 8, 16)),
    }
    small: ClassVar = {"width": 12, "depth": 1, "heads": 2, "features": [4, 4, 6, 8]}
    not_compiled = "transformers collects its maps by hooks, which break the graph"

    TOKEN = 16

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        side: int = 224,
        features: Sequence[int] | None = None,
        weights: str | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_depth, own_heads, own_features = preset(size, SIZES)
        width, depth, heads = width or own_width, depth or own_depth, heads or own_heads
        features = features or own_features
        if len(features) != 4:
            raise SettingsError("features must be those of the 4 levels", found=tuple(features))
        if width % heads:
            raise SettingsError(
                "heads must divide width",
                found=f"{heads} heads, width {width}",
                remedy="choose heads that divide it, or another width",
            )
        config = Dinov2Config(
            num_channels=in_channels,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            patch_size=14,
            image_size=side,
        )
        self.vit = Dinov2Backbone(config) if weights is None else _read(Path(weights), config)
        # Only DINOv2's own pretraining uses it; idle parameters stop distributed training.
        self.vit.embeddings.mask_token = None
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
        if checkpoint_activations:
            recompute(self.vit.encoder.layer)

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


def _read(folder: Path, config: Dinov2Config) -> Dinov2Backbone:
    """Read a backbone that must be as `config` says but for its input channels."""
    if not (folder / "model.safetensors").exists() or not (folder / "config.json").exists():
        raise CheckpointError(
            "the folder must hold config.json and model.safetensors of a DINOv2",
            file=folder,
            remedy="download it with huggingface_hub, and give the folder",
        )
    # The concrete class: AutoBackbone asks the hub even for a local folder.
    vit = Dinov2Backbone.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    _check(vit.config, config, folder)
    if vit.config.num_channels != config.num_channels:
        _share_stem(vit, config.num_channels)
    return vit


PARAMETERS = {
    "hidden_size": "width",
    "num_hidden_layers": "depth",
    "num_attention_heads": "heads",
    "image_size": "side",
}
"""Our name of each of DINOv2's settings that can be chosen."""


def _check(found: Dinov2Config, wanted: Dinov2Config, folder: Path) -> None:
    """Raise an error if two configurations are not of one network."""
    for key in ("patch_size", "mlp_ratio", "use_swiglu_ffn", "qkv_bias", "hidden_act"):
        if getattr(found, key) != getattr(wanted, key):
            raise CheckpointError(
                f"the weights must be of a DINOv2 with {key} {getattr(wanted, key)}",
                file=folder,
                found=getattr(found, key),
                remedy="name the model whose weights these are",
            )
    if any(getattr(found, key) != getattr(wanted, key) for key in PARAMETERS):
        values = ", ".join(f"{ours}={getattr(found, key)}" for key, ours in PARAMETERS.items())
        raise CheckpointError(
            "width, depth, heads and side must be those of the weights",
            file=folder,
            remedy=f"set {values}",
        )


def _share_stem(vit: Dinov2Backbone, channels: int) -> None:
    """Give the stem other input channels: the sum over colours, an equal part for each."""
    stem = vit.embeddings.patch_embeddings
    old = stem.projection
    token = old.kernel_size[0]
    new = nn.Conv2d(channels, old.out_channels, kernel_size=token, stride=token)
    kernel = old.weight.data.sum(1, keepdim=True) / channels
    new.weight.data.copy_(kernel.repeat(1, channels, 1, 1))
    if new.bias is not None and old.bias is not None:
        new.bias.data.copy_(old.bias.data)
    stem.projection, stem.num_channels, vit.config.num_channels = new, channels, channels
