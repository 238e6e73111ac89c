"""2D networks of transformers as slice-wise feature extractors, built from configs, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from torch import Tensor, nn

from hilum.core.errors import CheckpointError, SettingsError, did_you_mean
from hilum.core.weights import read_weights

from .backbone2d import FlatNetwork, gray_stem
from .base import preset
from .tokens import taps

NETWORKS: dict[str, tuple[str, str, str]] = {
    "dinov2": ("Dinov2Backbone", "Dinov2Config", "encoder.layer"),
    "dinov3": ("DINOv3ViTBackbone", "DINOv3ViTConfig", "model.layer"),
    "dinov3_convnext": ("DINOv3ConvNextBackbone", "DINOv3ConvNextConfig", "model.stages"),
    "convnext": ("ConvNextBackbone", "ConvNextConfig", "encoder.stages"),
    "convnextv2": ("ConvNextV2Backbone", "ConvNextV2Config", "encoder.stages"),
    "swin": ("SwinBackbone", "SwinConfig", "swin.encoder.layers"),
    "hiera": ("HieraBackbone", "HieraConfig", "encoder.stages"),
}
"""Class of the network, of its config, and where its blocks are."""

_TOKENS = {"tiny": (96, 4, 3), "small": (384, 12, 6), "base": (768, 12, 12)}
_CONVNEXT = {
    "tiny": ([40, 80, 160, 320], [2, 2, 6, 2]),
    "small": ([96, 192, 384, 768], [3, 3, 9, 3]),
    "base": ([128, 256, 512, 1024], [3, 3, 27, 3]),
}
_SWIN = {
    "tiny": (24, [2, 2, 2, 2], 1),
    "small": (96, [2, 2, 6, 2], 3),
    "base": (128, [2, 2, 18, 2], 4),
}
_HIERA = {"tiny": (48, [1, 2, 3, 1]), "small": (96, [1, 2, 7, 2]), "base": (96, [2, 3, 16, 3])}


class TransformersNetwork(FlatNetwork):
    """Feature maps of a backbone of transformers.

    Args:
        in_channels: Channels of the image.
        name: One of `NETWORKS`.
        size: `tiny`, `small` or `base`; the latter two are published sizes.
        side: Side in pixels that positions are made for (DINOv2, Hiera): that of the weights.
        settings: Further keys of the config, which replace the size's.
        weights: Local folder or `.safetensors` file in HuggingFace's format, or none.
    """

    def __init__(
        self,
        in_channels: int,
        name: str,
        size: str,
        side: int,
        settings: dict[str, Any],
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if name not in NETWORKS:
            raise SettingsError(
                f"unknown network {name!r}{did_you_mean(name, NETWORKS)}",
                remedy=f"choose from {', '.join(NETWORKS)}, or timm/ and a name in timm",
            )
        network, kind, path = NETWORKS[name]
        self.tokens, self.side = name in ("dinov2", "dinov3"), side if name == "hiera" else None
        wanted = {**_config(name, size, side), **settings, "num_channels": in_channels}
        depth = int(wanted["num_hidden_layers"]) if self.tokens else 0
        indices = [t + 1 for t in taps(depth, 3)] if self.tokens else [1, 2, 3, 4]
        distinct = sorted(set(indices))
        config = getattr(transformers, kind)(**wanted, out_indices=distinct)
        cls: Any = getattr(transformers, network)
        net: Any = cls(config) if weights is None else _load(cls, config, Path(weights), name)
        self.order = [distinct.index(i) for i in indices]
        _drop_idle(net)
        self.channels = tuple(int(net.channels[i]) for i in self.order)
        patch = int(config.patch_size) if self.tokens else 4
        self.strides = (patch,) * 3 if self.tokens else (4, 8, 16, 32)
        self.net: nn.Module = net
        self.stem = tuple(
            key
            for key, value in net.state_dict().items()
            if value.ndim == 4 and value.shape[1] == in_channels
        )[:1]
        self.blocks = tuple(net.get_submodule(path))

    def forward(self, slices: Tensor) -> list[Tensor]:
        """Map slices to the features of several depths."""
        if isinstance(self.net, transformers.HieraBackbone):
            return _hiera(self.net, slices)
        maps = self.net(slices).feature_maps
        return [maps[i] for i in self.order]


def _hiera(net: transformers.HieraBackbone, slices: Tensor) -> list[Tensor]:
    """Return the normed maps of every stage of a Hiera.

    The backbone of transformers (5.24) leaves out that its blocks want tokens ordered by mask unit,
    as `HieraModel` orders them: with pretrained weights its maps are not those of the network.
    """
    from transformers.models.hiera.modeling_hiera import unroll

    config: Any = net.config
    rows = unroll(
        net.embeddings(slices)[0],
        image_shape=(slices.shape[2], slices.shape[3]),
        patch_stride=config.patch_stride,
        schedule=[config.query_stride] * (len(config.depths) - 1),
    )
    stages = net.encoder(rows, output_hidden_states=True).reshaped_hidden_states
    norms = net.hidden_states_norms.values()
    pairs = zip(norms, stages[1:], strict=True)
    return [norm(x).permute(0, 3, 1, 2).contiguous() for norm, x in pairs]


def _config(name: str, size: str, side: int) -> dict[str, Any]:
    """Return the config's keys for a size."""
    if name in ("dinov2", "dinov3"):
        width, depth, heads = preset(size, _TOKENS)
        keys = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
        if name == "dinov2":
            return {**keys, "patch_size": 14, "image_size": side}
        return {**keys, "patch_size": 16, "image_size": side, "intermediate_size": 4 * width,
                "num_register_tokens": 4}  # fmt: skip
    if name == "swin":
        width, depths, heads = preset(size, _SWIN)
        many = [heads * 2**stage for stage in range(4)]
        return {"embed_dim": width, "depths": depths, "num_heads": many, "image_size": side}
    if name == "hiera":
        width, depths = preset(size, _HIERA)
        return {"embed_dim": width, "depths": depths, "num_heads": [1, 2, 4, 8],
                "image_size": [side, side]}  # fmt: skip
    widths, depths = preset(size, _CONVNEXT)
    return {"hidden_sizes": widths, "depths": depths}


def _drop_idle(net: nn.Module) -> None:
    """Take away what no feature map depends on; idle parameters stop distributed training."""
    if isinstance(net, transformers.SwinBackbone):
        net.swin.layernorm = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]
    for part in net.modules():
        if isinstance(getattr(part, "mask_token", None), nn.Parameter):
            part.mask_token = None  # pyright: ignore[reportArgumentType]


def _load(cls: Any, config: Any, path: Path, name: str) -> nn.Module:
    """Build a network from a file: transformers knows the names that its older files have."""
    weights = {
        key: gray_stem(value, config.num_channels) if value.shape[1:2] == (3,) else value
        for key, value in read_weights(path).items()
    }
    net, info = cls.from_pretrained(
        None,
        config=config,
        state_dict=weights,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    wrong = [key for key in info["missing_keys"] if not any(part in key for part in OWN)]
    wrong += [found[0] for found in info["mismatched_keys"]]
    if wrong:
        raise CheckpointError(
            f"the weights must be those of a {name} of this size",
            file=path,
            found=f"{len(wrong)} of {len(net.state_dict())} tensors missing, such as {wrong[0]}",
            remedy="set size, side and settings as in its config.json",
        )
    return net


OWN = ("hidden_states_norms", "mask_token", "swin.layernorm")
"""Parts of a backbone that files need not hold: norms of its maps, and what is not used."""
