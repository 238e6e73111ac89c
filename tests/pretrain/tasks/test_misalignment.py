"""The shift of one modality against the other is known, learned, and told by nothing but it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.parts.shift_head import ShiftHead
from hilum.pretrain.tasks.misalignment import Misalignment

SIDES = (8, 12, 16)
SPACING = (3.0, 2.0, 1.5)
NAMES = ("ct", "pet")
HAVE = torch.tensor([[True, True], [True, False], [True, True], [False, True]])


def make(names: tuple[str, ...] = NAMES, **params: Any) -> Misalignment:
    torch.manual_seed(0)
    encoder = ResencEncoder(in_channels=len(names), features=[4, 8], blocks=[1, 1])
    given: dict[str, Any] = {"spacing": SPACING, "longest": 4.5, "block": 2, "step": 1}
    given |= {"dim": 4} | params
    return Misalignment(encoder=encoder, modalities=names, **given)


def batch_of(have: torch.Tensor = HAVE, seed: int = 0, **changes: Any) -> PretextBatch:
    generator, (count, modalities) = torch_generator(seed, "test"), have.shape
    image = torch.randn(count, modalities, *SIDES, generator=generator)
    body = torch.ones(count, 1, *SIDES, dtype=torch.bool)
    body[:, :, 1:3] = False
    fields: dict[str, Any] = {
        "image": image * have[:, :, None, None, None],
        "available": have,
        "body": body,
        "generator": torch_generator(seed, "shifts"),
    }
    return PretextBatch(**(fields | changes))


def again(batch: PretextBatch, seed: int = 0) -> PretextBatch:
    return batch._replace(generator=torch_generator(seed, "shifts"))


def test_content_moves_by_the_voxels_and_the_mm_that_are_noted() -> None:
    task, batch = make(), batch_of(HAVE.repeat(20, 1))
    moved = task.move(batch)
    assert task.most == (1, 2, 3)
    for axis, most in enumerate(task.most):
        drawn = moved.voxels[moved.known[:, 1], 1, axis]
        assert sorted(set(drawn.tolist())) == list(range(-most, most + 1))
    for row, step in enumerate(moved.voxels[:, 1].tolist()):
        expected = batch.image[row, 1].roll(step, (0, 1, 2))[1:-1, 2:-2, 3:-3]
        assert torch.equal(moved.image[row, 1, 1:-1, 2:-2, 3:-3], expected)
        assert_close(moved.mm[row, 1], torch.tensor(step) * torch.tensor(SPACING))
    assert torch.equal(moved.known[:, 1], HAVE.all(1).repeat(20))
    assert not moved.voxels[:, 0].any()


def test_margins_and_what_one_scan_lacks_are_blank_in_all() -> None:
    view = torch.ones(4, 2, *SIDES, dtype=torch.bool)
    view[:, 1, :, :, :5] = False
    moved = make().move(batch_of(field_of_view=view))
    assert not moved.image[:, :, [0, -1]].any()
    assert not moved.image[..., -3:].any()
    for row, step in enumerate(moved.voxels[:, 1].tolist()):
        first = max(3, 5 + step[2]) if HAVE[row, 1] else 3
        covered = torch.zeros(SIDES, dtype=torch.bool)
        covered[1:-1, 2:-2, first:-3] = True
        assert torch.equal(moved.common[row, 0], covered)


def test_correlation_is_the_sum_of_products_at_each_displacement() -> None:
    torch.manual_seed(0)
    head = ShiftHead((1, 2, 2), (1, 3, 2), SPACING)
    assert head.reach == (2, 3, 2)
    first, second = torch.randn(2, 3, 4, 8, 6), torch.randn(2, 3, 4, 8, 6)
    where = torch.rand(2, 1, 4, 8, 6) > 0.2
    found = head.correlate(first, second, where)
    one, two = (
        (f * where).unflatten(3, (4, 2)).unflatten(5, (3, 2)).mean((4, 6)).double().numpy()
        for f in (first, second)
    )
    share = where.float().unflatten(3, (4, 2)).unflatten(5, (3, 2)).mean((4, 6)).double().numpy()
    for f in (one, two):
        f -= f.sum((2, 3, 4), keepdims=True) / share.sum((2, 3, 4), keepdims=True) * share
    norm = np.sqrt((one**2).sum((1, 2, 3, 4)) * (two**2).sum((1, 2, 3, 4)))
    for at in np.ndindex(5, 7, 5):
        delta = np.subtract(at, (2, 3, 2))
        total = np.zeros(2)
        for x in np.ndindex(4, 4, 3):
            y = np.add(x, delta)
            if (y >= 0).all() and (y < (4, 4, 3)).all():
                total += (one[:, :, *x] * two[:, :, *y]).sum(1)
        assert_close(found[:, *at].double(), torch.tensor(total / norm), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shift", [(0, 0, 0), (1, -2, 2), (-1, 1, 0)])
def test_equal_features_give_the_shift_exactly(shift: tuple[int, int, int]) -> None:
    head = ShiftHead((1, 1, 1), (1, 2, 2), SPACING)
    head.sharpness.data.fill_(6.0)
    image = torch.randn(1, 3, *SIDES, generator=torch_generator(0, "image"))
    where = torch.zeros(1, 1, *SIDES, dtype=torch.bool)
    where[..., 2:-2, 3:-3, 3:-3] = True
    found = head(image, image.roll(shift, (2, 3, 4)), where)
    expected = torch.tensor([[n * s for n, s in zip(shift, SPACING, strict=True)]])
    assert_close(found, expected, atol=1e-3, rtol=0)


def test_the_loss_is_the_formula_of_the_docstring() -> None:
    task, batch = make(rebuild=0.5, delta=1.0), batch_of()
    task.eval()
    loss, terms = task.loss(again(batch))
    moved = task.move(again(batch))
    huber, errors = [], []
    for row in (0, 2):
        found = task.predict(moved, 1, torch.tensor([row]))[0].detach()
        error = [abs(float(x)) for x in found - moved.mm[row, 1]]
        huber.append(sum(e**2 / 2 if e < 1 else e - 0.5 for e in error))
        errors.append(sum(e**2 for e in error) ** 0.5)
    assert float(terms["error_mm/pet"]) == pytest.approx(np.mean(errors), rel=1e-3)
    rest = [float(moved.mm[row, 1].norm()) for row in (0, 2)]
    assert float(terms["still_mm/pet"]) == pytest.approx(np.mean(rest), rel=1e-5)
    drawn = again(batch)
    moved = task.move(drawn)
    rebuilt, hidden = task.rebuild(moved, drawn)
    rebuilt = rebuilt.detach()
    squares = []
    for m in range(2):
        where = hidden[:, m] & moved.common[:, 0] & batch.body[:, 0] & HAVE[:, m, None, None, None]
        squares.append(float(((rebuilt - batch.image)[:, m][where] ** 2).mean()))
        assert float(terms[f"mse/{NAMES[m]}"]) == pytest.approx(squares[-1], rel=1e-4)
    expected = np.mean(huber) / 4.5 + 0.5 * np.mean(squares)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-3)


def test_samples_that_augmentation_moved_are_known_only_to_their_own_source() -> None:
    shift = torch.zeros(4, 2, 3)
    shift[0, 0], shift[0, 1] = torch.tensor([1.0, 0, 0]), torch.tensor([0, 2.0, -3.0])
    own = make().move(batch_of(shift=shift))
    assert own.known[:, 1].tolist() == [False, False, True, False]
    given = make(source="augmentation").move(batch_of(shift=shift))
    assert given.known[:, 1].tolist() == [True, False, True, False]
    assert not given.voxels.any()
    assert given.mm[0, 1].tolist() == [-1.0, 2.0, -3.0]


STILL: dict[str, Any] = {
    "rotation": {"p": 0},
    "scale": {"p": 0},
    "mirror": (0, 0, 0),
    "misalign_turn": 0,
    "misalign": {"pet": 10.0},
    "misalign_p": 0.5,
}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({}, ""),
        ({"rotation": {"p": 0.1}}, "rotation.p above 0"),
        ({"scale": {"p": 0.1}}, "scale.p above 0"),
        ({"mirror": (0, 0, 0.5)}, "mirror above 0"),
        ({"misalign_turn": 2}, "misalign_turn above 0"),
        ({"misalign_p": 0}, "misalign_p 0"),
        ({"misalign": {"mr_t1": 10.0}}, "shifts a modality"),
    ],
)
def test_shifts_of_augmentation_must_stay_as_they_were_drawn(
    change: dict[str, Any], word: str
) -> None:
    given = validate(AugmentationSettings, STILL | change)
    make().check_augmentation(given)
    task = make(source="augmentation")
    with pytest.raises(SettingsError, match=word) if word else nullcontext():
        task.check_augmentation(given)


@pytest.mark.parametrize("have", [[[True, False], [True, False]], [[False, True]]])
def test_a_batch_without_a_pair_reaches_every_weight_with_zeros(have: Any) -> None:
    task = make(rebuild=0.0)
    loss, terms = task.loss(batch_of(torch.tensor(have)))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(value.isnan() for value in terms.values())
    assert all(p.grad is not None and not p.grad.any() for p in task.encoder.parameters())


def test_three_modalities_move_against_the_first() -> None:
    have = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])
    _, terms = make(("ct", "pet", "mr_t1"), rebuild=0.0).loss(batch_of(have))
    assert set(terms) == {"error_mm/pet", "still_mm/pet", "error_mm/mr_t1", "still_mm/mr_t1"}


def test_bfloat16_leaves_the_loss_finite() -> None:
    task = make()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = task.loss(batch_of())
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


@pytest.mark.parametrize("content", [True, False])
def test_training_finds_the_shift_of_content_and_nothing_else(content: bool) -> None:
    task = make(rebuild=0.0)
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    have, shares = torch.ones(4, 2, dtype=torch.bool), []
    for step in range(60):
        batch = batch_of(have, seed=step)
        # Without content CT and PET have nothing to do with each other.
        if content:
            batch.image[:, 1] = -batch.image[:, 0]
        loss, terms = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        shares.append(float(terms["error_mm/pet"] / terms["still_mm/pet"]))
    late = np.mean(shares[-10:])
    assert late < 0.35 if content else late > 0.9


def test_pictures_show_the_move_undone() -> None:
    volumes = make().pictures(batch_of())
    assert list(volumes) == ["input", "moved", "moved back", "holes", "rebuilt"]
    assert list(make(rebuild=0.0).pictures(batch_of())) == ["input", "moved", "moved back"]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"names": ("ct",)}, "two modalities"),
        ({"spacing": (1.0, 2.0)}, "spacing"),
        ({"spacing": (1.0, 2.0, 0.0)}, "spacing"),
        ({"longest": 1.0}, "one voxel"),
        ({"source": "both"}, "source"),
        ({"delta": 0.0}, "delta"),
        ({"rebuild": -1.0}, "rebuild"),
        ({"ratio": 0.0}, "ratio"),
        ({"ratio": 1.0}, "ratio"),
        ({"step": 0}, "block"),
        ({"dim": 0}, "dim"),
    ],
)
def test_impossible_settings_are_refused(params: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        make(**params)


@pytest.mark.parametrize(("patch", "word"), [((8, 12, 10), "longest"), ((8, 12, 16), "two blocks")])
def test_a_patch_must_hold_the_shifts(patch: tuple[int, int, int], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        make(block=16).check_patch(patch)
