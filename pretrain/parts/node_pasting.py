"""Paste lymph nodes and decoys into a batch of unlabelled patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hilum.core.geometry import Triple
from hilum.core.modality import Modality, modality
from hilum.core.types import IGNORE

from ..base import PretextBatch
from .node_decoys import FARTHER, balls, copies, erase, surroundings
from .node_looks import (
    FOREIGN,
    Contrast,
    Density,
    contrast,
    density,
    draw_looks,
    grain,
    point_spread,
    rings,
)
from .node_places import around_stations, at, choose, open_to_nodes, plausible
from .node_recipe import Recipe
from .node_shapes import draw_shapes
from .node_solids import Colour, Drawn, Solids, over, solids
from .smoothing import smooth, texture


class Pasted(NamedTuple):
    """A batch with what was pasted.

    Attributes:
        image: Like that of the batch.
        label: uint8 `[B, 1, D, H, W]`: 1 pasted node, 0 none, 255 unknown.
        share: How much of each voxel is node `[B, 1, D, H, W]`.
        gone: Where real uptake was erased, booleans `[B, 1, D, H, W]`.
    """

    image: Tensor
    label: Tensor
    share: Tensor
    gone: Tensor


@torch.no_grad()
def paste(batch: PretextBatch, names: Sequence[str], spacing: Triple, recipe: Recipe) -> Pasted:
    """Paste nodes and decoys into every patch of a batch.

    Every draw comes from the batch's generator, on its device, and nothing is read on the host.

    Modalities with a linear scale show structure (CT, MR), those with a log scale uptake (PET,
    SPECT, diffusion). Decoys tell nodes from what looks like one in one of them, so they are pasted
    only where a case has both: a nodule without uptake, uptake without a nodule, real uptake
    blurred and copied elsewhere. Where there is uptake, real foci are erased, too.

    Unknown is, by rule, what was hot before and was neither covered by a node nor erased, one voxel
    around included: it may be a node. A case without uptake has nothing unknown.

    Args:
        batch: On the network's scale; not changed.
        names: Modality of each channel.
        spacing: mm along depth, height, width.
        recipe: What to paste.
    """
    with torch.autocast(batch.image.device.type, enabled=False):
        return _paste(batch, [modality(name) for name in names], spacing, recipe)


def _paste(
    batch: PretextBatch, rules: Sequence[Modality], spacing: Triple, recipe: Recipe
) -> Pasted:
    image, body, generator = batch.image.float(), batch.body[:, 0], batch.generator
    values = [rule.decode(image[:, c]) for c, rule in enumerate(rules)]
    structure = [c for c, rule in enumerate(rules) if rule.scale == "linear"]
    uptake = [c for c, rule in enumerate(rules) if rule.scale == "log"]
    worth = plausible(values, rules, batch.available, body, spacing)
    hot = [values[c] > recipe.unknown * rules[c].show[1] for c in uptake]
    hot = [h & batch.available[:, c, None, None, None] for h, c in zip(hot, uptake, strict=True)]
    both = batch.available[:, structure].any(1) & batch.available[:, uptake].any(1)
    drawn = _draw(worth, body, both, spacing, recipe, generator)
    free = open_to_nodes(values, rules, batch.available, body, spacing)
    stack = solids(drawn, free.float(), recipe.long_mm / 2 * 1.2, spacing)
    whole = drawn.places.round().long().clamp(min=0)
    whole = torch.minimum(whole, whole.new_tensor(body.shape[1:]) - 1)
    new, nothing = list(values), torch.zeros_like(values[0])
    one = torch.ones_like(drawn.places[..., :1])[..., None, None]
    node = over(nothing, stack, lambda some: one[:, some.columns], drawn.node)
    painted = over(nothing, stack, lambda some: one[:, some.columns], drawn.dense)
    for c in structure:
        filling = density(values[c], rules[c], body, drawn.looks, whole, spacing)
        colour = _density(filling, values[c], rules[c], recipe, generator)
        new[c] = over(values[c], stack, colour, drawn.dense)
        counted = _even(values[c], rules[c], body)
        width, variance = texture(values[c], counted, spacing)
        noise = grain(width.clamp(max=2 * max(spacing)), body.shape, spacing, generator)
        level = variance.sqrt().clamp(max=0.08 * (rules[c].show[1] - rules[c].show[0]))
        new[c] = new[c] + painted * noise * level.view(-1, 1, 1, 1)
    shift = torch.randn((len(image), 3), generator=generator, device=image.device)
    alone = batch.available[:, structure].any(1)[:, None]
    shift = shift * alone * (recipe.misregistration_mm / 3**0.5)
    gone = torch.zeros_like(body)
    touched = [torch.zeros_like(body) for _ in rules]
    for c in structure:
        touched[c] = painted > 0
    for number, c in enumerate(uptake):
        sigma, noisy = point_spread(values[c], body & ~hot[number], recipe.resolution_mm, spacing)
        above = contrast(values[c], rules[c], drawn.looks, drawn.shapes, whole, spacing)
        colour = _uptake(above, recipe, generator)
        added = smooth(over(nothing, stack, colour, drawn.avid), sigma, spacing, shift_mm=shift)
        now, gone_here, copied = _real_foci(
            values[c], hot[number], worth, both, sigma, spacing, recipe, generator
        )
        added = added + copied
        noise = grain(sigma, body.shape, spacing, generator)
        spread = (added.clamp(min=0) * noisy.view(-1, 1, 1, 1)).sqrt()
        new[c] = (now + added + noise * spread).clamp(min=0)
        touched[c] = (added > 1e-3 * rules[c].show[1]) | (now != values[c])
        gone = gone | gone_here
    out = [
        torch.where(
            touched[c] & batch.available[:, c, None, None, None], rule.encode(new[c]), image[:, c]
        )
        for c, rule in enumerate(rules)
    ]
    if recipe.control == "shuffled":
        # Uptake, with all that was pasted into it, of another patch: no pair belongs together.
        out = [one.roll(1, 0) if c in uptake else one for c, one in enumerate(out)]
    is_node = node >= 0.5
    unknown = torch.stack(hot).any(0) if hot else torch.zeros_like(body)
    unknown = F.max_pool3d(unknown[:, None].float(), 3, 1, 1)[:, 0] > 0
    label = (unknown & ~gone).to(torch.uint8) * IGNORE
    label = torch.where(is_node, torch.ones_like(label), label)
    image = torch.stack(out, 1).to(batch.image.dtype)
    return Pasted(image, label[:, None], node[:, None], gone[:, None])


def _density(
    filling: Density, value: Tensor, rule: Modality, recipe: Recipe, generator: torch.Generator
) -> Colour:
    amplitude = FOREIGN * (rule.show[1] - rule.show[0])

    def colour(some: Solids) -> Tensor:
        found = filling.at(some.columns, some.hilum, some.dead)
        return _strange(found, amplitude, some, recipe, generator, some.boxes.take(value))

    return colour


def _uptake(above: Contrast, recipe: Recipe, generator: torch.Generator) -> Colour:
    def colour(some: Solids) -> Tensor:
        found = above.at(some.columns, some.own, some.hilum, some.dead)
        most = 0.8 * found.amax((2, 3, 4), keepdim=True)
        return _strange(found, most, some, recipe, generator, torch.zeros_like(found))

    return colour


def _strange(
    colour: Tensor,
    amplitude: Tensor | float,
    some: Solids,
    recipe: Recipe,
    generator: torch.Generator,
    plain: Tensor,
) -> Tensor:
    """Return a node's values as the controls want them: with rings, or noise on what was there."""
    if recipe.foreign:
        colour = colour + amplitude * rings(some.form)
    if recipe.control == "noise":
        noise = torch.randn(some.form.shape, generator=generator, device=some.form.device)
        colour = plain + amplitude * noise
    return colour


def _draw(
    worth: Tensor,
    body: Tensor,
    both: Tensor,
    spacing: Triple,
    recipe: Recipe,
    generator: torch.Generator,
) -> Drawn:
    """Draw all nodules: dense decoys, avid decoys, nodes."""
    batch, device = len(worth), worth.device
    kinds = [0] * recipe.decoys + [1] * recipe.decoys + [2] * recipe.nodes
    kind = torch.tensor(kinds, device=device).expand(batch, -1)
    count = len(kinds)
    shapes = draw_shapes(batch, count, recipe.short_mm, recipe.long_mm, generator, recipe.family)
    looks = draw_looks(batch, count, recipe.hilum, recipe.necrosis, generator)
    chance, joins = torch.rand((2, batch, count), generator=generator, device=device)
    ways = torch.randn((batch, count, 3), generator=generator, device=device)
    jitter = torch.rand((batch, count, 3), generator=generator, device=device) - 0.5
    member = torch.randint(0, recipe.stations, (batch, count), generator=generator, device=device)
    stations, _ = choose(worth, recipe.stations, generator)
    places, good = around_stations(worth, stations, member, recipe.spread_mm, spacing, generator)
    free, there = choose(body.float(), count, generator)
    foreign = kind == 1  # uptake of muscle, vessels, brown fat: anywhere in the body
    places = torch.where(foreign[..., None], free, places).float()
    good = torch.where(foreign, there, good)
    present = good & torch.where(kind == 2, chance < 2 / 3, (chance < 0.5) & both[:, None])
    # Each second node may grow into the one before, at 0.8 of the distance of two that touch.
    mean = shapes.axes_mm.prod(-1) ** (1 / 3)
    apart = 0.4 * (mean + mean.roll(1, 1))
    way = ways / ways.norm(dim=-1, keepdim=True).clamp(min=1e-6)
    beside = places.roll(1, 1) + way * apart[..., None] / places.new_tensor(spacing)
    last = places.new_tensor(worth.shape[1:]) - 1
    beside = torch.minimum(beside.clamp(min=0), last)
    second = torch.zeros(count, dtype=torch.bool, device=device)
    second[2 * recipe.decoys + 1 :: 2] = True
    merge = second & (joins < recipe.confluent) & present.roll(1, 1)
    merge = merge & (at(worth, beside.round().long()) > 0)
    places = torch.where(merge[..., None], beside, places) + jitter
    return Drawn(
        shapes, looks, places, present & (kind != 1), present & (kind != 0), present & (kind == 2)
    )


def _real_foci(
    value: Tensor,
    hot: Tensor,
    worth: Tensor,
    both: Tensor,
    sigma: Tensor,
    spacing: Triple,
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the uptake with real foci erased, where they were, and blurred copies to be added."""
    if not recipe.decoys:
        return value, torch.zeros_like(hot), torch.zeros_like(value)
    low = surroundings(value, hot, spacing)
    boxes, soft, _ = balls(hot, 2 * recipe.decoys, spacing, generator)
    keep = torch.rand(soft.shape[:2], generator=generator, device=value.device) < 0.5
    soft = soft * keep[..., None, None, None]
    first = torch.zeros_like(keep)
    first[:, : recipe.decoys] = True
    left, gone = erase(value, low, boxes, soft * first[..., None, None, None])
    to, there = choose(worth, keep.shape[1], generator)
    kept = soft * (~first & there & both[:, None])[..., None, None, None]
    copied = copies(value, low, boxes, kept, to, spacing)
    return left, gone, smooth(copied, FARTHER * sigma, spacing)


def _even(value: Tensor, rule: Modality, body: Tensor) -> Tensor:
    """Return where a modality of structure is even enough to show its noise."""
    if rule.unit == "HU":
        return body & (value > 0) & (value < 100)
    return body
