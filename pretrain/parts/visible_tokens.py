"""Which tokens a multimodal masked autoencoder encodes, and which modalities are in each."""

from __future__ import annotations

from itertools import product
from math import ceil
from typing import NamedTuple

import torch
from torch import Tensor

from .masking import dirichlet_shares, hide_by_dirichlet, keep_some, split_visible


class Visible(NamedTuple):
    """The tokens to encode.

    Attributes:
        places: `[B, K]`, place of each token in the volume, from 0.
        members: `[B, K, M]` booleans: modalities whose patches are in the token.
        valid: `[B, K]` booleans; the rest only fills rows.
    """

    places: Tensor
    members: Tensor
    valid: Tensor

    def seen(self, count: int) -> Tensor:
        """Return which patches are in a token: booleans `[B, M, count]`."""
        members = (self.members & self.valid[..., None]).transpose(1, 2)
        index = self.places[:, None].expand_as(members)
        none = torch.zeros((*members.shape[:2], count), device=members.device)
        return none.scatter_add(2, index, members.float()) > 0


def joint_tokens(
    available: Tensor,
    count: int,
    ratio: float,
    alpha: float,
    drop: float,
    generator: torch.Generator,
) -> Visible:
    """Show a fixed number of places, each with some of the modalities: as many tokens as places.

    The kinds of a token are the sets of modalities, such as CT, PET, and both. A symmetric
    Dirichlet over the kinds that a sample can have says how many tokens are of each.

    Args:
        available: `[B, M]`.
        count: Places of a volume.
        ratio: Fraction of the places to leave out.
        alpha: Concentration of the Dirichlet.
        drop: Probability to leave out a modality everywhere; never all of a sample.
        generator: On the device of `available`.
    """
    kept = keep_some(available, drop, generator) if drop else available
    modalities, device = available.shape[1], available.device
    sets = list(product([False, True], repeat=modalities))[1:]
    kinds = torch.tensor(sets, device=device)
    possible = (kinds[None] <= kept[:, None]).all(2)
    shown = min(max(round((1 - ratio) * count), 1), count - 1)
    totals = torch.full((len(available),), shown, device=device)
    shares = dirichlet_shares(possible, alpha, generator)
    each = split_visible(shares, totals, shown, generator).sum(2)
    drawn = torch.rand(len(available), count, generator=generator, device=device)
    places = drawn.argsort(1)[:, :shown]
    # Places are in random order already, so the kinds may take them in turn.
    turn = torch.arange(shown, device=device)
    kind = (each.cumsum(1)[:, None] <= turn[:, None]).sum(2).clamp(max=len(sets) - 1)
    members = kinds[kind] & kept[:, None]
    return Visible(places, members, torch.ones_like(places, dtype=torch.bool))


def separate_tokens(
    available: Tensor,
    count: int,
    ratio: float,
    alpha: float,
    drop: float,
    generator: torch.Generator,
) -> Visible:
    """Show patches, each as a token of its own, whatever else is seen at its place.

    Samples with fewer modalities have fewer tokens; rows are filled up to those of all.

    Args:
        available: `[B, M]`.
        count: Places of a volume.
        ratio: Fraction of the patches to leave out, over all modalities of a sample.
        alpha: Concentration of the Dirichlet over modalities.
        drop: Probability to leave out a modality everywhere; never all of a sample.
        generator: On the device of `available`.
    """
    hidden = hide_by_dirichlet(available, count, ratio, alpha, drop, generator)
    seen = (~hidden & available[..., None]).flatten(1)
    # As many as a sample with every modality shows: a length that needs no look at the masks.
    longest = max(ceil((1 - ratio) * seen.shape[1]), 1)
    # Those that are seen come first, in order.
    order = (~seen).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
    valid = seen.gather(1, order)
    modality = order // count
    numbers = torch.arange(available.shape[1], device=available.device)
    members = modality[..., None] == numbers
    return Visible(order % count, members & valid[..., None], valid)
