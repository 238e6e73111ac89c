"""timm's 2D networks as slice-wise feature extractors, built by name, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
from torch import Tensor, nn

from hilum.core.errors import CheckpointError, SettingsError, did_you_mean
from hilum.core.weights import read_weights

from .backbone2d import FlatNetwork, fit
from .tokens import taps

FAMILIES = ("convnext", "hiera", "regnet", "resnet", "swin", "vit")
"""Beginnings of the names that may follow `timm/`."""


class TimmNetwork(FlatNetwork):
    """Intermediate features of a timm network.

    Args:
        in_channels: Channels of the image.
        name: Name in timm, of one of `FAMILIES`.
        side: Side in pixels that positions are made for: any for convolutions, that of the
            weights for ViT and Hiera.
        settings: Further arguments of timm's constructor.
        weights: Local `.safetensors` file with timm's names, or none.
    """

    def __init__(
        self,
        in_channels: int,
        name: str,
        side: int,
        settings: dict[str, Any],
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not name.startswith(FAMILIES) or not timm.is_model(name):
            known = [n for family in FAMILIES for n in timm.list_models(f"{family}*")]
            raise SettingsError(
                f"unknown timm network {name!r}{did_you_mean(name, known)}",
                remedy=f"choose one whose name begins with {', '.join(FAMILIES)}",
            )
        self.tokens = name.startswith("vit")
        sized: dict[str, Any] = {}
        if self.tokens:
            sized = {"img_size": side, "dynamic_img_size": True}
        elif name.startswith("hiera"):
            sized = {"img_size": (side, side)}
        elif name.startswith("swin"):
            sized = {"strict_img_size": False}
        self.side = side if name.startswith("hiera") else None
        net: Any = timm.create_model(
            name, pretrained=False, num_classes=0, in_chans=in_channels, **sized, **settings
        )
        if weights is not None:
            _load(net, Path(weights), name)
        if self.tokens:
            self.indices: list[int] = list(taps(len(net.blocks), 3))
            self.channels = (net.embed_dim,) * 3
            self.strides = (int(net.patch_embed.patch_size[0]),) * 3
        else:
            info = net.feature_info[-4:]
            self.indices = list(range(len(net.feature_info) - 4, len(net.feature_info)))
            self.channels = tuple(int(part["num_chs"]) for part in info)
            self.strides = tuple(int(part["reduction"]) for part in info)
        # Later blocks and the head would lie idle, which stops distributed training.
        net.prune_intermediate_layers(self.indices, prune_norm=not self.tokens, prune_head=True)
        if hasattr(net, "head"):
            net.head = nn.Identity()
        self.net: nn.Module = net
        state = net.state_dict()
        self.stem = tuple(
            key for key, v in state.items() if v.ndim == 4 and v.shape[1] == in_channels
        )[:1]
        self.blocks = tuple(_blocks(net))

    def forward(self, slices: Tensor) -> list[Tensor]:
        """Map slices to the features of several depths."""
        net: Any = self.net
        return net.forward_intermediates(
            slices,
            indices=self.indices,
            norm=self.tokens,
            output_fmt="NCHW",
            intermediates_only=True,
        )


def _blocks(net: nn.Module) -> list[nn.Module]:
    for name in ("blocks", "stages", "layers"):
        part = getattr(net, name, None)
        if isinstance(part, (nn.ModuleList, nn.Sequential)):
            return list(part)
    return [part for name, part in net.named_children() if name.startswith(("layer", "s"))]


def _load(net: nn.Module, file: Path, name: str) -> None:
    own = {k: v for k, v in net.state_dict().items() if not k.startswith(("head.", "fc."))}
    found, missing = fit(own, read_weights(file))
    if missing:
        raise CheckpointError(
            f"the weights must be those of timm's {name}",
            file=file,
            found=f"{len(missing)} of {len(own)} tensors missing, such as {missing[0]}",
            remedy="set side to the images' that they were trained on" if _sided(missing) else None,
        )
    net.load_state_dict(found, strict=False)


def _sided(missing: list[str]) -> bool:
    return all("pos_embed" in key or "relative_position" in key for key in missing)
