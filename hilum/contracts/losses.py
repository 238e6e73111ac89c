"""What every loss must keep, whatever its formula; run by pytest, once for each `name`."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.registry import build
from hilum.losses import LOSSES
from hilum.losses.base import Loss, Targets, at_resolution

from .host_reads import host_reads, pretended_gpu

SIDES = ((8, 8, 12), (4, 4, 6), (2, 2, 3))

TABLE = LOSSES


def made(name: str, **changes: float) -> Loss:
    return build(LOSSES, {"name": name, **LOSSES[name].small, **changes}, spacing=(2.0, 1.0, 1.5))


def patches(classes: int = 3) -> Tensor:
    """Return a patch with nodes of each class, some touching the border, and an empty one."""
    label = torch.zeros(2, 1, *SIDES[0], dtype=torch.uint8)
    label[0, 0, :3, :2, :4] = 1
    label[0, 0, 5:, 5:, 2:5] = classes - 1
    label[0, 0, 4:6, :2, 8:] = 1
    return label


def logits(classes: int = 3, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, classes, *s, generator=generator).requires_grad_() for s in SIDES]


def sure(label: Tensor, classes: int, size: float) -> list[Tensor]:
    """Return logits that are right, or with a size below 0 wrong, everywhere."""
    levels = [at_resolution(label, sides)[:, 0].long() for sides in SIDES]
    hot = [torch.nn.functional.one_hot(level, classes).movedim(-1, 1).float() for level in levels]
    return [(size * x).requires_grad_() for x in hot]


@pytest.mark.parametrize("classes", [2, 3])
def test_unknown_voxels_get_exactly_no_gradient_in_each_term_and_level(
    name: str, classes: int
) -> None:
    label = patches(classes)
    label[:, :, 1:7, 1:3, 3:] = 255
    loss = made(name)
    weights = dict(loss.weights)
    for term in weights:
        loss.weights = {other: float(other == term) for other in weights}
        levels = logits(classes)
        with torch.no_grad():
            for x in levels:
                x[(at_resolution(label, x.shape[2:]) == 255).expand_as(x)] = float("nan")
        value, named = loss(levels, label)
        assert set(named) == set(weights)
        value.backward()
        for x in levels:
            assert x.grad is not None
            unknown = (at_resolution(label, x.shape[2:]) == 255).expand_as(x)
            assert unknown.any()
            assert (x.grad[unknown] == 0).all()
            assert x.grad[~unknown].isfinite().all()
            assert x.grad[~unknown].any()


def test_each_term_is_finite_on_patches_that_are_empty_or_unknown(name: str) -> None:
    for value in (0, 1, 255):
        label = torch.full((2, 1, *SIDES[0]), value, dtype=torch.uint8)
        levels = logits()
        total, _ = made(name)(levels, label)
        total.backward()
        assert total.isfinite()
        assert all(x.grad is not None and x.grad.isfinite().all() for x in levels)
        if value == 255:
            assert float(total.detach()) == 0


def test_a_false_alarm_in_an_empty_patch_costs_more_the_surer_it_is(name: str) -> None:
    label = torch.zeros((1, 1, *SIDES[0]), dtype=torch.uint8)
    loss = made(name)
    alarm = torch.zeros(1, 2, *SIDES[0])
    found = []
    for size in (-4.0, 0.0, 4.0):
        alarm[:, 1] = size
        found.append(float(loss([alarm], label)[0]))
    assert found == sorted(found)
    assert found[0] < found[2]


@pytest.mark.parametrize("size", [200.0, -200.0])
def test_gradients_are_finite_however_sure_the_network_is(name: str, size: float) -> None:
    levels = sure(patches(), 3, size)
    total, _ = made(name)(levels, patches())
    total.backward()
    assert total.isfinite()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in levels)


def test_a_perfect_prediction_has_no_loss_and_any_other_has_more(name: str) -> None:
    loss = made(name)
    perfect = loss(sure(patches(), 3, 100.0), patches())[0].detach()
    assert float(perfect) == pytest.approx(0, abs=1e-5)
    assert float(loss(logits(), patches())[0].detach()) > float(perfect) + 0.05


def test_half_precision_logits_are_computed_in_full(name: str) -> None:
    loss = made(name)
    half = [x.detach().bfloat16() for x in logits()]
    with torch.autocast("cpu", torch.bfloat16):
        value, _ = loss([x.requires_grad_() for x in half], patches())
    exact, _ = loss([x.detach().float() for x in half], patches())
    assert value.dtype == torch.float32
    assert_close(value, exact)


def test_levels_weigh_half_as_much_each_and_sum_to_one(name: str) -> None:
    loss, levels, label = made(name), logits(), patches()
    maps = loss.maps(label, 3)
    each = [
        sum(loss.weights[key] * term for key, term in loss.named(x, label, maps).items())
        for x in levels
    ]
    expected = (4 * each[0] + 2 * each[1] + each[2]) / 7
    assert_close(loss(levels, label)[0], expected)


def test_the_gradient_is_that_of_the_value(name: str) -> None:
    label = patches()[..., :4, :4, :5].contiguous()
    label[0, 0, 0, 0] = 255
    x = torch.randn(2, 3, 4, 4, 5, generator=torch.Generator().manual_seed(3)).double()
    loss = made(name)
    maps = loss.maps(label, 3)

    def value(scores: Tensor) -> Tensor:
        terms = loss.named(scores, label, maps)
        return torch.stack([loss.weights[key] * term for key, term in terms.items()]).sum()

    assert torch.autograd.gradcheck(value, x.requires_grad_(), fast_mode=True)


def test_its_weights_are_checked(name: str) -> None:
    of = inspect.signature(LOSSES[name]).parameters
    assert all(p.kind is p.KEYWORD_ONLY for p in of.values())
    weights = [key for key in ("weight", "cross_entropy", "dice") if key in of]
    if not weights:
        pytest.skip("it has no weight, cross_entropy or dice")
    key = weights[0]
    with pytest.raises(ValueError, match="must be at least 0"):
        made(name, **{key: -1.0})


def one_class_each(classes: int) -> Tensor:
    """Return the table of a label whose numbers are classes."""
    table = torch.zeros(256, classes)
    table[:classes] = torch.eye(classes)
    return table


def test_targets_that_are_one_class_each_change_nothing(name: str) -> None:
    loss, levels, label = made(name), logits(), patches()
    label[:, :, 1:3, 1:3, 3:] = 255
    if not loss.any_targets:
        pytest.skip("its targets are one class each anyway")
    table = one_class_each(3)
    expected = loss(levels, label)[0]
    assert_close(loss(levels, label, None, Targets(table))[0], expected)
    assert_close(loss(levels, label, None, Targets(table.repeat(2, 1, 1)))[0], expected)
    two = logits(2)
    where = torch.where(label == 2, torch.ones_like(label), label)
    overlapping = Targets(one_class_each(2), overlapping=True)
    assert_close(loss(two, where, None, overlapping)[0], loss(two, where)[0])


def test_the_share_itself_is_the_best_prediction_of_a_share(name: str) -> None:
    loss, label = made(name), torch.full((1, 1, 4, 4, 4), 21, dtype=torch.uint8)
    if not loss.any_targets:
        pytest.skip("it needs one class for each voxel")
    table = one_class_each(2)
    table[21] = torch.tensor([0.7, 0.3])
    for overlapping in (False, True):
        costs = {}
        for p in (0.1, 0.25, 0.3, 0.35, 0.6):
            scores = torch.tensor([0.0, p]).logit(eps=0.0)[1] * torch.tensor([0.0, 1.0])
            level = scores.view(1, 2, 1, 1, 1).expand(1, 2, 4, 4, 4)
            costs[p] = float(loss([level], label, None, Targets(table, overlapping))[0])
        assert min(costs, key=lambda p: costs[p]) == 0.3


def test_a_step_reads_nothing_on_the_host(name: str) -> None:
    """But for the maps of the label, which loaders make."""
    loss, levels, label = made(name), logits(), patches()
    maps = loss.maps(label, 3)
    with host_reads() as found:
        loss(levels, label, maps)[0].backward()
        if loss.any_targets:
            table = Targets(torch.full((2, 256, 3), 1 / 3), overlapping=True)
            loss(levels, label, None, table)[0].backward()
    assert not found


def test_it_computes_on_a_pretended_gpu(name: str) -> None:
    loss, levels, label = made(name), logits(), patches()
    maps = loss.maps(label, 3)
    with pretended_gpu() as move:
        value, terms = loss(move(levels), move(label), move(maps))
    assert all(x.device.type == "cuda" for x in (value, *terms.values()))
