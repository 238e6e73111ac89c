"""Contrast between modalities: the CT and the PET of one place are alike, of other places not."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder

from ..base import PretextBatch, PretextTask
from ..parts.masked_mse import defined
from ..parts.masking import block_sides
from ..parts.patches import from_patches, to_patches


class Places(NamedTuple):
    """Features of places in scans that have two modalities or more.

    Attributes:
        features: `[R, M, K, dim]`, of length 1.
        counts: `[R, M, K]` booleans: the modality covers the place, which lies in the body.
        centres: `[R, K, 3]`, in voxels.
        cells: `[R, K]`, number of each place in the grid of cells.
        rows: `[R]`, sample of the batch.
    """

    features: Tensor
    counts: Tensor
    centres: Tensor
    cells: Tensor
    rows: Tensor


class CrossModalContrast(PretextTask):
    r"""Match the PET of a location to its CT, and the reverse, among the batch's locations.

    Each modality is encoded alone, the others zero. The features of all levels, averaged over
    cells of `cell` voxels and joined, go through a small head per modality to $z$ of length 1.
    With places $i$ of which at least half lies in the body and in both scans, and $N(i)$ the
    places that may stand against $i$,

    $$L = \frac{1}{2|I|} \sum_{i \in I} \ell(z^{a}_i, z^{b}) + \ell(z^{b}_i, z^{a}), \quad
    \ell(z_i, z') = -\log \frac{e^{z_i \cdot z'_i / \tau}}
    {e^{z_i \cdot z'_i / \tau} + \sum_{j \in N(i)} e^{z_i \cdot z'_j / \tau}},$$

    averaged over the pairs of modalities in the batch. $N(i)$ leaves out places of the same patch
    within `near` voxels, which show nearly the same, and other patches of the same case, which may
    overlap. Samples without a pair do not count; a batch without any has a loss of 0.

    Before encoding, each modality of a sample is rolled by whole cells of its own: a network that
    knows a place by its distance from the patch's border, where padding begins, would else match
    places and learn nothing of what is there.

    A positive is as sharp as a cell: cells larger than the misalignment to be expected keep
    positives true. Negatives come from the batch of one process.

    Source:
        The loss is van den Oord et al., "Representation Learning with Contrastive Predictive
        Coding", arXiv:1807.03748, equation 4; modalities as each other's views is Tian et al.,
        "Contrastive Multiview Coding", ECCV 2020, arXiv:1906.05849; places as samples is Wang et
        al., "Dense Contrastive Learning", CVPR 2021, arXiv:2011.09157. Ours: one encoder for all
        modalities with the absent ones zero, known places instead of matched ones, rolls, and
         exclusions. No source tests it on CT and PET: take it as an arm of a study.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        cell: Side of a cell in voxels, or three; patch sides must be multiples.
        near: Distance of centres, in voxels, up to which places of a patch are no negatives.
        places: Most places drawn from a patch.
        temperature: Divides the similarities.
        roll: Whether to roll modalities apart; without it the border tells places.
        hidden: Channels between the two layers of a head.
        dim: Channels of what is compared.
    """

    least_batch = 2

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        cell: int | Sequence[int] = 8,
        near: float = 14.0,
        places: int = 128,
        temperature: float = 0.1,
        roll: bool = True,
        hidden: int = 256,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        _check(len(self.modalities), near, places, temperature, min(hidden, dim))
        self.cell, self.near = block_sides(cell), near
        self.places, self.temperature, self.roll = places, temperature, roll
        self.encoder = encoder
        self.heads = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Linear(sum(encoder.channels), hidden), nn.GELU(), nn.Linear(hidden, dim)
                )
                for name in self.modalities
            }
        )

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and of each pair its part and how often the right place is found."""
        found = self.embed(batch, self.places)
        # Zero, but of the network's making: every process has a gradient for every weight.
        total, parts, pairs, terms = 0.0 * found.features.sum(), [], [], {}
        for a, b in combinations(range(len(self.modalities)), 2):
            counts = (found.counts[:, a] & found.counts[:, b]).flatten()
            allowed = self.against(found, counts, batch.cases)
            one, two = (found.features[:, m].flatten(0, 1) for m in (a, b))
            part, right = contrast(one, two, counts, allowed, self.temperature)
            some = counts.sum()
            parts.append(part)
            pairs.append(some > 0)
            pair = f"{self.modalities[a]}_{self.modalities[b]}"
            terms[f"contrast/{pair}"] = defined(part, some)
            terms[f"found/{pair}"] = defined(right, some)
        return total + sum(parts) / torch.stack(pairs).sum().clamp(min=1), terms

    def embed(self, batch: PretextBatch, most: int) -> Places:
        """Encode each modality alone, and return up to `most` places of each sample with a pair."""
        paired = [row for row, have in enumerate(batch.have) if sum(have) > 1]
        # Without a pair one sample is encoded, none of whose places counts for two modalities.
        rows = torch.tensor(paired or [0]).to(batch.image.device, non_blocking=True)
        image = batch.image[rows]
        sides = image.shape[2:]
        grid = self.grid(sides)
        cover = batch.body if batch.field_of_view is None else batch.body & batch.field_of_view
        cover = cover.expand_as(batch.image)[rows].float()
        counts = F.avg_pool3d(cover, self.cell, self.cell).flatten(2) >= 0.5
        counts = counts & batch.available[rows][..., None]
        cells = self._draw(counts, most, batch.generator)
        drawn = batch.shapes.integers(0, grid, (*counts.shape[:2], 3)) * self.roll
        steps = torch.from_numpy(drawn).to(image.device, non_blocking=True)
        parts = []
        for channel, name in enumerate(self.modalities):
            alone = torch.zeros_like(image)
            for sample, step in enumerate(drawn[:, channel].tolist()):
                voxels = [n * c for n, c in zip(step, self.cell, strict=True)]
                alone[sample, channel] = image[sample, channel].roll(voxels, (0, 1, 2))
            joined = at_cells(self.encoder(alone), grid).flatten(2).transpose(1, 2)
            index = rolled(cells, steps[:, channel], grid)[..., None]
            parts.append(self.heads[name](joined.gather(1, index.expand(-1, -1, joined.shape[2]))))
        features = F.normalize(torch.stack(parts, 1).float(), dim=-1)
        middles = centres(grid, self.cell, cells.device)[cells]
        chosen = counts.gather(2, cells[:, None].expand(-1, counts.shape[1], -1))
        return Places(features, chosen, middles, cells, rows)

    def against(self, found: Places, counts: Tensor, cases: Sequence[str]) -> Tensor:
        """Return which places stand against which: booleans `[R * K, R * K]`."""
        each = found.cells.shape[1]
        row = found.rows.repeat_interleave(each)
        same = row[:, None] == row[None]
        middles = found.centres.flatten(0, 1).float()
        # Not by matrix products: bfloat16 would round the distances.
        exact = "donot_use_mm_for_euclid_dist"
        apart = torch.cdist(middles, middles, compute_mode=exact) > self.near
        case = row
        if cases:
            names = {name: number for number, name in enumerate(dict.fromkeys(cases))}
            numbers = torch.tensor([names[name] for name in cases])
            case = numbers.to(row.device, non_blocking=True)[row]
        other = case[:, None] != case[None]
        return counts[None] & (other | (same & apart))

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return the input, and each modality put together from the places found by another's.

        NaN marks places that do not count, and samples without a pair.
        """
        grid = self.grid(batch.image.shape[2:])
        found, count = self.embed(batch, prod(grid)), len(self.modalities)
        blocks = to_patches(batch.image, grid, self.cell)
        volume = torch.full_like(blocks, float("nan"))
        rows = found.rows.repeat_interleave(found.cells.shape[1])
        cells = found.cells.flatten()
        for channel in range(count):
            for query in (other for other in range(count) if other != channel):
                ask, tell = (found.features[:, m].flatten(0, 1) for m in (query, channel))
                there = found.counts[:, channel].flatten()
                both = there & found.counts[:, query].flatten()
                if not both.any():
                    continue
                alike = (ask @ tell.T).masked_fill(~there[None], float("-inf"))
                best = alike.argmax(1)[both]
                volume[rows[both], cells[both], channel] = blocks[rows[best], cells[best], channel]
        rebuilt = from_patches(volume.transpose(1, 2), grid, self.cell)
        return {"input": batch.image, "found": rebuilt}

    def grid(self, sides: Sequence[int]) -> IntTriple:
        """Return the cells along each side."""
        depth, height, width = (s // c for s, c in zip(sides, self.cell, strict=True))
        return depth, height, width

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches that are no whole number of cells, or a single one."""
        whole = all(side % cell == 0 for side, cell in zip(patch, self.cell, strict=True))
        if not whole or prod(self.grid(patch)) < 2:
            raise SettingsError(
                "a patch must be a whole number of cells, two or more",
                found=f"patch {patch} with cells of {self.cell}",
                remedy="change task.cell or patch",
            )

    def _draw(self, counts: Tensor, most: int, generator: torch.Generator) -> Tensor:
        """Choose cells at random, first those that two modalities show: `[R, K]`."""
        drawn = torch.rand(
            (len(counts), counts.shape[2]), generator=generator, device=generator.device
        )
        drawn = drawn + (counts.sum(1) > 1)
        return drawn.argsort(1, descending=True)[:, :most]


def contrast(
    one: Tensor, two: Tensor, counts: Tensor, allowed: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the mean loss of both directions over what counts, and the share found rightly.

    Args:
        one: `[N, dim]`, features of length 1; row `i` of `two` belongs to row `i`.
        two: `[N, dim]`.
        counts: `[N]` booleans; the loss is 0 if none is true.
        allowed: `[N, N]` booleans: which stand against which.
        temperature: Divides the products.
    """
    with torch.autocast(one.device.type, enabled=False):
        alike = one.float() @ two.float().T / temperature
    own = torch.eye(len(one), dtype=torch.bool, device=one.device)
    losses, right = [], []
    for scores in (alike, alike.T):
        kept = scores.masked_fill(~(allowed | own), float("-inf"))
        rows = torch.where(counts, kept.logsumexp(1) - scores.diagonal(), 0.0)
        losses.append(rows.sum() / counts.sum().clamp(min=1))
        right.append((kept.argmax(1) == torch.arange(len(one), device=one.device)) & counts)
    return torch.stack(losses).mean(), torch.cat(right).sum() / (2 * counts.sum()).clamp(min=1)


def at_cells(maps: Sequence[Tensor], grid: IntTriple) -> Tensor:
    """Bring feature maps to a grid and join them: averages of finer maps, repeats of coarser."""
    parts = []
    for level in maps:
        depth, height, width = (min(a, b) for a, b in zip(level.shape[2:], grid, strict=True))
        pooled = F.adaptive_avg_pool3d(level.float(), (depth, height, width))
        parts.append(F.interpolate(pooled, grid, mode="nearest"))
    return torch.cat(parts, 1)


def rolled(cells: Tensor, steps: Tensor, grid: IntTriple) -> Tensor:
    """Return where cells `[R, K]` are after a roll by `steps` cells, `[R, 3]`, of a grid."""
    depth, height, width = grid
    along = torch.stack([cells // (height * width), cells // width % height, cells % width], -1)
    moved = (along + steps[:, None]).unbind(-1)
    d, h, w = (place % side for place, side in zip(moved, (depth, height, width), strict=True))
    return (d * height + h) * width + w


def centres(grid: IntTriple, cell: IntTriple, device: torch.device) -> Tensor:
    """Return the middle of each cell in voxels, `[cells, 3]`."""
    axes = [(torch.arange(n, device=device) + 0.5) * c for n, c in zip(grid, cell, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)


def _check(modalities: int, near: float, places: int, temperature: float, least: int) -> None:
    if modalities < 2:
        raise SettingsError(
            "cross_modal_contrast needs two modalities or more",
            found=modalities,
            remedy="prepare CT and PET, or choose another task",
        )
    if near < 0:
        raise SettingsError("near must not be negative", found=near)
    if places < 2:
        raise SettingsError("places must be at least 2", found=places)
    if temperature <= 0:
        raise SettingsError("temperature must be above 0", found=temperature, remedy="try 0.1")
    if least < 1:
        raise SettingsError("hidden and dim must be at least 1", found=least)
