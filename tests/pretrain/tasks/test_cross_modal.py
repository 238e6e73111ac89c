"""Only the hidden target counts, in the body and the field of view, by direction."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.tasks.cross_modal import CrossModal

SIDES = (6, 8, 10)
NAMES = ("ct", "pet")
HAVE = torch.tensor([[True, True], [True, True], [True, False], [False, True], [True, True]])


def make(names: tuple[str, ...] = NAMES, **params: Any) -> CrossModal:
    torch.manual_seed(0)
    encoder = ResencEncoder(in_channels=len(names), features=[4, 8], blocks=[1, 1])
    params = {"block": 2} | params
    return CrossModal(encoder=encoder, modalities=names, **params)


def batch_of(have: torch.Tensor = HAVE, seed: int = 0, **changes: Any) -> PretextBatch:
    generator = torch_generator(seed, "test")
    count, modalities = have.shape
    image = torch.randn(count, modalities, *SIDES, generator=generator)
    fields: dict[str, Any] = {
        "image": image * have[:, :, None, None, None],
        "available": have,
        "body": torch.rand(count, 1, *SIDES, generator=generator) > 0.3,
        "field_of_view": torch.rand(count, modalities, *SIDES, generator=generator) > 0.2,
        "generator": torch_generator(seed, "masks"),
    }
    return PretextBatch(**(fields | changes))


def again(batch: PretextBatch, seed: int = 0) -> PretextBatch:
    return batch._replace(generator=torch_generator(seed, "masks"))


@pytest.mark.parametrize("weights", [None, {"pet": 3.0}])
def test_the_loss_is_the_formula_of_the_docstring(weights: Any) -> None:
    task, batch = make(weights=weights, context=0.25), batch_of()
    loss, terms = task.loss(again(batch))
    target, hidden = task.hide(again(batch))
    rebuilt = task.rebuild(batch.image, hidden).detach()
    assert batch.field_of_view is not None
    errors: dict[tuple[str, bool], list[float]] = {}
    for b, m, d, h, w in np.ndindex(5, 2, *SIDES):
        place = (b, m, d, h, w)
        counts = hidden[place] and target[b, m] and batch.available[b, m]
        if counts and batch.body[b, 0, d, h, w] and batch.field_of_view[place]:
            error = float(rebuilt[place] - batch.image[place]) ** 2
            alone = bool(batch.available[b].sum() == 1)
            errors.setdefault((NAMES[m], alone), []).append(error)
    known = {"ct": "mse/ct_from_pet", "pet": "mse/pet_from_ct"}
    for (name, alone), values in errors.items():
        key = f"mse/{name}_alone" if alone else known[name]
        assert float(terms[key]) == pytest.approx(np.mean(values), rel=1e-5)
    assert len(terms) == len(errors)
    means = [
        np.mean([e for (n, _), values in errors.items() if n == name for e in values])
        for name in NAMES
    ]
    share = [1.0, (weights or {}).get("pet", 1.0)]
    assert float(loss.detach()) == pytest.approx(np.average(means, weights=share), rel=1e-5)


def test_a_target_may_be_hidden_in_full_and_the_rest_seen_in_full() -> None:
    task, batch = make(ratio=1.0), batch_of()
    target, hidden = task.hide(batch)
    paired = batch.available.all(1)
    share = hidden.flatten(2).float().mean(2)
    assert torch.equal(share[paired], target[paired].float())
    assert torch.equal(target.sum(1), torch.ones(5, dtype=torch.long))


def test_a_scan_alone_is_masked_in_part_and_an_absent_one_never() -> None:
    task, batch = make(ratio=1.0, alone=0.6), batch_of()
    _, hidden = task.hide(batch)
    share = hidden.flatten(2).float().mean(2)
    assert share[2].tolist() == pytest.approx([0.6, 0.0])
    assert share[3].tolist() == pytest.approx([0.0, 0.6])


def test_ratios_and_directions_are_drawn_per_sample() -> None:
    have = torch.ones(600, 3, dtype=torch.bool)
    batch = batch_of(have, image=torch.zeros(600, 3, *SIDES))
    task = make(("ct", "pet", "mr_t1"), directions={"pet": 2.0, "mr_t1": 0.0}, ratio=(0.5, 1.0))
    target, hidden = task.hide(batch)
    often = target.float().mean(0).tolist()
    assert often == pytest.approx([1 / 3, 2 / 3, 0.0], abs=0.08)
    share = hidden.flatten(2).float().mean(2)[target]
    assert (float(share.min()), float(share.max())) == pytest.approx((0.5, 1.0), abs=0.03)
    assert float(share.mean()) == pytest.approx(0.75, abs=0.03)


def test_the_network_sees_nothing_of_what_is_hidden() -> None:
    task, batch = make(), batch_of()
    _, hidden = task.hide(again(batch))
    other = torch.where(hidden, batch.image + 7, batch.image)
    assert_close(task.rebuild(other, hidden), task.rebuild(batch.image, hidden))


def test_what_does_not_count_sends_neither_a_value_nor_a_gradient() -> None:
    task, batch = make(), batch_of()
    target, hidden = task.hide(again(batch))
    assert batch.field_of_view is not None
    counted = hidden & target[:, :, None, None, None] & batch.body & batch.field_of_view
    image = torch.where(hidden & ~counted, torch.tensor(float("nan")), batch.image)
    expected, _ = task.loss(again(batch))
    found, _ = task.loss(again(batch._replace(image=image)))
    assert_close(found, expected)
    found.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_a_batch_without_anything_to_count_has_a_loss_of_zero() -> None:
    task = make()
    loss, terms = task.loss(batch_of(body=torch.zeros(5, 1, *SIDES, dtype=torch.bool)))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(value.isnan() for value in terms.values())


def test_pet_that_is_a_function_of_ct_is_learned_from_it() -> None:
    task = make(ratio=1.0, directions={"ct": 0.0})
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    have, errors = torch.ones(4, 2, dtype=torch.bool), []
    for step in range(60):
        batch = batch_of(have, seed=step)
        batch.image[:, 1] = -0.5 * batch.image[:, 0]
        loss, terms = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(terms["mse/pet_from_ct"]))
    # The mean alone would leave the variance, a fourth.
    assert np.mean(errors[-5:]) < 0.08


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"ratio": 0.0}, "ratio"),
        ({"ratio": (0.9, 0.5)}, "ratio"),
        ({"ratio": 1.2}, "ratio"),
        ({"context": 1.0}, "context"),
        ({"alone": 1.0}, "alone"),
        ({"alone": 0.0}, "alone"),
        ({"token": "mean"}, "token"),
        ({"block": 0}, "block"),
        ({"directions": {"mr": 1.0}}, "directions"),
        ({"directions": {"ct": 0.0, "pet": 0.0}}, "directions"),
        ({"weights": {"ct": -1.0}}, "weights"),
        ({"names": ("ct",)}, "two modalities"),
    ],
)
def test_impossible_settings_are_refused(params: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        make(**params)


def test_a_patch_of_one_block_is_refused() -> None:
    with pytest.raises(SettingsError, match="two blocks"):
        make(block=16).check_patch((16, 16, 16))
