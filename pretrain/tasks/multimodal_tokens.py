"""MultiMAE in 3D: encode a few tokens drawn from all modalities, reconstruct every modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder
from hilum.encoders.tokens import resize_positions

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import countable, mean_squares, named, weighted_mean, with_holes
from ..parts.masking import check_split, to_voxels
from ..parts.patch_decoder import PatchDecoder
from ..parts.patches import from_patches, to_patches
from ..parts.visible_tokens import Visible, joint_tokens, separate_tokens
from .cross_modal import per_modality

if TYPE_CHECKING:
    from hilum.encoders.vit import VitEncoder

DRAWS = {"joint": joint_tokens, "separate": separate_tokens}


class MultimodalTokens(PretextTask):
    r"""Encode only visible tokens, split over modalities by a Dirichlet draw; reconstruct the rest.

    With $P_m$ the part of the encoder's patch embedding that sees modality $m$, a token at place
    $p$ that holds the modalities $S$ is

    $$z = \sum_{m \in S} P_m x_{mp} + b + \mathrm{position}_p,$$

    exactly as the encoder makes it of an image whose other modalities are zero there. Only these
    go through the blocks; a light decoder per modality reconstructs all places. The loss is that of
    `masked_autoencoder`, over patches that are in no token.

    `joint` tokens are places: $1 - r$ of them are shown, of the kinds CT, PET, and both, with
    shares drawn from a symmetric Dirichlet over kinds. The encoder meets the tokens that it will
    meet in fine-tuning, and as many of them for a patient with one modality as for one with two.
    With $r = 0.75$, $\alpha = 1$ and two modalities a sixth of all patches is seen on average, as
    in MultiMAE. `separate` tokens are MultiMAE's own: a token per visible patch, shares over
    modalities, two tokens where both are seen; fine-tuning then meets sums that pretraining did
    not, and rows of samples that lack a modality are filled up and masked.

    Only the blocks, the patch embedding and the positions learn; the levels of the pyramid finer
    than the tokens start fresh in fine-tuning.

    Source:
        Bachmann et al., "MultiMAE: Multi-modal Multi-task Masked Autoencoders", ECCV 2022,
        arXiv:2204.01678, sections 3.1 to 3.3. Ours: 3D, joint tokens, `drop`, no norm of patches
        (Hounsfield units and SUV keep their scale), no self-attention in the decoder, and the loss
        counts the body and the field of view only.

    Args:
        encoder: A `vit` with one input channel per modality.
        modalities: Name of each channel.
        ratio: Fraction of the tokens to leave out, above 0 and below 1.
        tokens: `joint` or `separate`.
        alpha: Concentration of the Dirichlet; 1 makes every split as likely.
        drop: Probability to leave out a modality everywhere; never all of a sample.
        decoder_width: Channels of the decoders.
        decoder_depth: Blocks of each decoder.
        decoder_heads: Attention heads of the decoders.
        weights: Weight of a modality in the loss, 1 if not named.
    """

    citation = (
        "Bachmann, R. and others",
        "MultiMAE: Multi-modal Multi-task Masked Autoencoders",
        "ECCV",
        2022,
        "arXiv:2204.01678",
    )
    small: ClassVar = {"decoder_width": 24, "decoder_heads": 2}
    small_encoder: ClassVar = {
        "name": "vit",
        "token": 8,
        "trained": 32,
        "width": 24,
        "depth": 6,
        "heads": 2,
        "features": [4, 4, 8],
    }

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        ratio: float = 0.75,
        tokens: str = "joint",
        alpha: float = 1.0,
        drop: float = 0.1,
        decoder_width: int = 192,
        decoder_depth: int = 2,
        decoder_heads: int = 6,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        _must_leave_out(encoder)
        self.encoder = encoder
        _check(ratio, tokens, decoder_width, decoder_depth, decoder_heads)
        check_split(alpha, drop)
        self.ratio, self.tokens, self.alpha, self.drop = ratio, tokens, alpha, drop
        self.token = self._vit.token
        count, values = len(self.modalities), prod(self.token)
        self.decoder = nn.ModuleDict(
            {
                name: PatchDecoder(
                    encoder.channels[-1], decoder_width, decoder_depth, decoder_heads, count, values
                )
                for name in self.modalities
            }
        )
        shares = per_modality(weights or {}, self.modalities, "weights")
        self.register_buffer("weights", torch.tensor(shares), persistent=False)

    @property
    def _vit(self) -> VitEncoder:
        return cast("VitEncoder", self.encoder)

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and the mean squared error of each modality that counts."""
        visible, hidden = self.hide(batch)
        rebuilt = self.rebuild(batch.image, visible)
        each, count = mean_squares(rebuilt, batch.image, hidden & countable(batch))
        loss = weighted_mean(each, count, self.get_buffer("weights"))
        return loss, named("mse", self.modalities, each, count)

    def hide(self, batch: PretextBatch) -> tuple[Visible, Tensor]:
        """Draw the tokens to encode; return them, and booleans like the image: what is in none."""
        sides = batch.image.shape[2:]
        count = prod(self.grid(sides))
        visible = DRAWS[self.tokens](
            batch.available, count, self.ratio, self.alpha, self.drop, batch.generator
        )
        hidden = ~visible.seen(count) & batch.available[..., None]
        return visible, to_voxels(hidden, sides, self.token)

    def rebuild(self, image: Tensor, visible: Visible) -> Tensor:
        """Return every modality as the decoders reconstruct it from the visible tokens."""
        grid, mask = self.grid(image.shape[2:]), None
        if self.tokens == "separate":
            # One token at least, or attention would have nothing to weigh.
            first = torch.arange(visible.valid.shape[1], device=image.device) == 0
            mask = (visible.valid | first)[:, None, None]
        tokens = self.encode(image, visible, mask)
        parts = [
            decoder(tokens, visible.members, visible.places, grid, mask)
            for decoder in self.decoder.values()
        ]
        return from_patches(torch.stack(parts, 1), grid, self.token)

    def encode(self, image: Tensor, visible: Visible, mask: Tensor | None = None) -> Tensor:
        """Return the encoder's last tokens, `[B, K, width]`, of the visible tokens alone."""
        encoder, grid = self._vit, self.grid(image.shape[2:])
        patches = to_patches(image, grid, self.token)
        index = visible.places[..., None, None].expand(-1, -1, *patches.shape[2:])
        seen = patches.gather(1, index) * visible.members[..., None]
        embed = encoder.patch_embed["proj"]
        assert isinstance(embed, nn.Conv3d)
        tokens = F.linear(seen.flatten(2), embed.weight.flatten(1), embed.bias)
        places = resize_positions(encoder.pos_embed, encoder.trained, grid)
        tokens = tokens + places[0][visible.places]
        for block in encoder.blocks:
            tokens = block(tokens) if mask is None else block(tokens, attn_mask=mask)
        return encoder.norm(tokens)

    def passes(self) -> tuple[nn.Module, ...]:
        """Return the blocks: the encoder itself is not called, since it would see every token."""
        return (*self._vit.blocks, *self.decoder.values())

    def networks(self) -> dict[str, nn.Module]:
        """Return the decoders of the tokens, which no other network can use."""
        return {"decoder": self.decoder}

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, what is in a visible token, and the input with its holes filled."""
        visible, hidden = self.hide(batch)
        return with_holes(batch.image, hidden, self.rebuild(batch.image, visible))

    def grid(self, sides: Sequence[int]) -> IntTriple:
        """Return the tokens along each side."""
        depth, height, width = (s // t for s, t in zip(sides, self.token, strict=True))
        return depth, height, width

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches of a single token, where all or nothing would be hidden."""
        if prod(self.grid(patch)) < 2:
            raise SettingsError(
                "a patch must have at least two tokens",
                found=f"patch {patch} with tokens of {self.token}",
                remedy="lower encoder.token or enlarge patch",
            )


def _must_leave_out(encoder: Encoder) -> None:
    # Not above: timm takes a second to import, and only this task needs it.
    from hilum.encoders.vit import VitEncoder

    if not isinstance(encoder, VitEncoder):
        raise SettingsError(
            "multimodal_tokens needs an encoder that can leave tokens out",
            found=type(encoder).__name__,
            remedy="use encoder vit, or masked_autoencoder with split: dirichlet",
        )


def _check(ratio: float, tokens: str, width: int, depth: int, heads: int) -> None:
    if not 0 < ratio < 1:
        raise SettingsError(
            "the mask ratio must be above 0 and below 1", found=ratio, remedy="try 0.75"
        )
    if tokens not in DRAWS:
        raise SettingsError(
            "tokens must be joint or separate", found=repr(tokens), remedy="choose one of them"
        )
    if depth < 1 or heads < 1 or width < 6 or width % heads:
        raise SettingsError(
            "the decoder needs a block, and a width from 6 that its heads divide",
            found=f"width {width}, depth {depth}, heads {heads}",
        )
