"""VideoMAE's tubelet transformer as an encoder of volumes, with transformers' parameter names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import VideoMAEConfig
from transformers.models.videomae.modeling_videomae import (
    VideoMAEEncoder,
    VideoMAEPatchEmbeddings,
)

from hilum.core.errors import CheckpointError
from hilum.core.weights import read_weights

from .activation_checkpointing import recompute
from .base import Encoder, preset
from .tokens import (
    TokenPyramid,
    as_map,
    check_heads,
    grid_of,
    resize_positions,
    sinusoids,
    taps,
    token_grid,
    token_stride,
)

SIZES: dict[str, tuple[int, int, int, tuple[int, ...]]] = {
    "tiny": (192, 6, 3, (8, 16, 32)),
    "small": (384, 12, 6, (16, 32, 64)),
    "base": (768, 12, 12, (32, 64, 128)),
}
"""Width, depth, heads, and channels of the levels finer than the tokens.

`small` and `base` are those of VideoMAE; its published weights need `token: [2, 16, 16]` and
`trained: [16, 224, 224]`.
"""


class VideomaeEncoder(Encoder):
    """A transformer on tubelets: a few slices deep, more voxels wide; fixed sinusoid positions.

    Slices take the place of frames. `transformers` refuses any size but the trained one; here
    positions are interpolated, and are its own on the trained size. The last level is VideoMAE's
    output, normalised.

    Source:
        Tong et al., "VideoMAE", NeurIPS 2022, arXiv:2203.12602, through `transformers`. The levels
        finer than the tokens are ours: see `encoders.tokens`.

    Args:
        in_channels: Channels of the image; a pretrained stem's sum over colours is shared out.
        size: `tiny`, `small` or `base`.
        token: Sides of a tubelet in voxels, powers of two, the plane's alike.
        trained: Sides in voxels that the positions are made for; other sides are interpolated.
        width: Channels of a token; replaces the size's.
        depth: Blocks; replaces the size's.
        heads: Attention heads; replaces the size's.
        features: Channels of the levels finer than the tokens; replaces the size's.
        weights: Local `.safetensors` file or folder of a `VideoMAEModel`, or none.
        checkpoint_activations: Whether to compute blocks again in the backward pass, for memory.
    """

    citation = ("Tong, Z. and others", "VideoMAE", "NeurIPS", 2022, "arXiv:2203.12602")
    note = "any number of tokens; positions are interpolated trilinearly from the trained one"
    sizes: ClassVar = {
        "tiny": (2_843_336, (1, (1, 2, 2), (2, 4, 4), (4, 8, 8))),
        "small": (21_791_120, (1, (1, 2, 2), (2, 4, 4), (4, 8, 8))),
        "base": (86_655_776, (1, (1, 2, 2), (2, 4, 4), (4, 8, 8))),
    }
    small: ClassVar = {"width": 12, "depth": 3, "heads": 2, "features": [4, 4, 8], "trained": 32}

    def __init__(
        self,
        *,
        in_channels: int,
        size: str = "tiny",
        token: int | Sequence[int] = (4, 8, 8),
        trained: int | Sequence[int] = 96,
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        features: Sequence[int] | None = None,
        weights: str | None = None,
        checkpoint_activations: bool = False,
    ) -> None:
        super().__init__()
        own_width, own_depth, own_heads, own_features = preset(size, SIZES)
        width, depth, heads = width or own_width, depth or own_depth, heads or own_heads
        check_heads(width, heads)
        self.token = token_stride(token)
        self.trained = token_grid(trained, self.token)
        config = _config(in_channels, width, depth, heads, self.token)
        # VideoMAEModel itself refuses other sizes; its parts have the same names.
        self.inner = nn.ModuleDict(
            {
                "embeddings": nn.ModuleDict({"patch_embeddings": VideoMAEPatchEmbeddings(config)}),
                "encoder": VideoMAEEncoder(config),
                "layernorm": nn.LayerNorm(width, eps=config.layer_norm_eps),
            }
        )
        self.inner.apply(_start)
        d, h, w = self.trained
        self.register_buffer("positions", sinusoids(d * h * w, width), persistent=False)
        self.pyramid = TokenPyramid(in_channels, width, self.token, features or own_features)
        self.taps = taps(depth, len(self.pyramid.strides) - 1)
        self.in_channels = in_channels
        self.channels, self.strides = self.pyramid.channels, self.pyramid.strides
        stem = "embeddings.patch_embeddings.projection.weight"
        self.stem = (f"inner.{stem}", "pyramid.fine.0.weight")
        if weights is not None:
            _load(self.inner, Path(weights), stem)
        if checkpoint_activations:
            recompute(self._blocks())

    def forward(self, image: Tensor) -> list[Tensor]:
        """Map an image to one feature map per level; the last are the tokens."""
        grid, maps = grid_of(image, self.token), []
        projection = self.inner.get_submodule("embeddings.patch_embeddings.projection")
        tokens = projection(image).flatten(2).transpose(1, 2)
        positions = resize_positions(self.get_buffer("positions"), self.trained, grid)
        tokens = tokens + positions.to(tokens.dtype)
        for number, block in enumerate(self._blocks()):
            tokens = block(tokens)
            maps += [tokens] * self.taps.count(number)
        maps[-1] = self.inner["layernorm"](tokens)
        return self.pyramid(image, [as_map(level, grid) for level in maps])

    def _blocks(self) -> nn.ModuleList:
        blocks = self.inner.get_submodule("encoder.layer")
        assert isinstance(blocks, nn.ModuleList)
        return blocks


def _config(
    in_channels: int, width: int, depth: int, heads: int, token: tuple[int, int, int]
) -> VideoMAEConfig:
    return VideoMAEConfig(
        num_channels=in_channels,
        tubelet_size=token[0],
        patch_size=(token[1], token[2]),
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        use_mean_pooling=False,
        attn_implementation="sdpa",  # pyright: ignore[reportCallIssue]
    )


def _start(part: nn.Module) -> None:
    """Start as transformers does: normal weights, biases at zero."""
    if isinstance(part, (nn.Linear, nn.Conv3d)):
        nn.init.normal_(part.weight, std=0.02)
        if part.bias is not None:
            nn.init.zeros_(part.bias)


def _load(inner: nn.Module, file: Path, stem: str) -> None:
    weights, own = read_weights(file), inner.state_dict()
    found = {key: _find(weights, key) for key in own}
    kernel = found[stem]
    channels = own[stem].shape[1]
    if kernel is not None and kernel.ndim == 5 and kernel.shape[1] != channels:
        found[stem] = (kernel.sum(1, keepdim=True) / channels).repeat(1, channels, 1, 1, 1)
    if found["layernorm.weight"] is None:
        # A model that pools means keeps its norm elsewhere or has none: ours starts as identity.
        found["layernorm.weight"] = torch.ones_like(own["layernorm.weight"])
        found["layernorm.bias"] = torch.zeros_like(own["layernorm.bias"])
    wrong = [k for k, v in own.items() if (new := found[k]) is None or new.shape != v.shape]
    if wrong:
        raise CheckpointError(
            "the weights must be those of a VideoMAE of this width, depth and token",
            file=file,
            found=f"{len(wrong)} of {len(own)} tensors missing, such as {wrong[0]}",
            remedy="set width, depth, heads, token and trained as in its config.json",
        )
    inner.load_state_dict({key: value for key, value in found.items() if value is not None})


def _find(weights: Mapping[str, Tensor], key: str) -> Tensor | None:
    """Return a tensor by any of its names: files keep the biases under VideoMAE's own."""
    old = key.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
    names = (key, old, f"videomae.{key}", f"videomae.{old}")
    return next((weights[name] for name in names if name in weights), None)
