"""Nodules in boxes of their own size are those of boxes that hold the largest."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hilum.core.host import as_on_a_device
from hilum.core.seeds import torch_generator
from hilum.pretrain.parts.node_looks import draw_looks
from hilum.pretrain.parts.node_shapes import Family, draw_shapes, form, reach_mm
from hilum.pretrain.parts.node_solids import Drawn, Solids, over, solids

SPACING = (2.0, 3.0, 4.0)
SIDES = (30, 22, 18)


def drawn(family: Family, seed: int) -> Drawn:
    generator = torch_generator(seed, "solids")
    shapes = draw_shapes(2, 6, (4, 30), 60, generator, family)
    looks = draw_looks(2, 6, 0.5, 0.4, generator)
    places = torch.rand((2, 6, 3), generator=generator) * torch.tensor(SIDES) - 0.5
    shown = torch.rand((3, 2, 6), generator=generator) < 0.5
    shown[:, :, 3] = False
    return Drawn(shapes, looks, places, *shown)


@pytest.mark.parametrize("family", ["real", "box", "spiculated"])
def test_small_boxes_hold_all_that_large_ones_do(family: Family) -> None:
    free = (torch.rand(2, *SIDES, generator=torch_generator(0, "free")) > 0.1).float()
    sizes = []
    for seed in range(6):
        made = drawn(family, seed)
        stacks = [solids(made, free, 90.0, SPACING)]
        with as_on_a_device():
            stacks.append(solids(made, free, 90.0, SPACING))
        for shown in (made.dense, made.avid, made.node):
            level = torch.arange(1.0, 7).expand(2, 6)[..., None, None, None]

            def colour(some: Solids, level: torch.Tensor = level) -> torch.Tensor:
                return level[:, some.columns] + some.dead

            few, all_of_them = (over(free, stack, colour, shown) for stack in stacks)
            assert_close(few, all_of_them, atol=1e-6, rtol=1e-6)
            assert (few != free).any()
        assert all(one.columns != slice(3, 4) for one in stacks[0]), "nothing of it shows"
        sizes += [one.form[0, 0].numel() / stacks[1][0].form[0, 0].numel() for one in stacks[0]]
    if family != "spiculated":  # spikes may be as long as the largest box
        assert sum(sizes) / len(sizes) < 0.9


@pytest.mark.parametrize("family", ["real", "box", "spiculated"])
def test_nothing_of_a_shape_lies_beyond_its_reach(family: Family) -> None:
    shapes = draw_shapes(4, 50, (4, 30), 60, torch_generator(1, "reach"), family)
    way = torch.randn((4, 50, 3, 10, 10, 10), generator=torch_generator(2, "reach"))
    way = way / way.norm(dim=2, keepdim=True)
    # Along a ray the form grows with the distance, so it is above 1 beyond the surface.
    far = 1.001 * reach_mm(shapes)[..., None, None, None, None]
    assert (form(shapes, way * far)[0] > 1).all()
