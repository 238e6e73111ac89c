"""The loss counts what was hidden inside the body of modalities that are there, and no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.registry import build
from hilum.core.seeds import torch_generator
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain import TASKS
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.tasks.masked_autoencoder import MaskedAutoencoder

SIDES = (6, 8, 10)
NAMES = ("ct", "pet")


def make(**params: Any) -> MaskedAutoencoder:
    torch.manual_seed(0)
    encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
    params = {"block": 2, "ratio": 0.5} | params
    return MaskedAutoencoder(encoder=encoder, modalities=NAMES, **params)


def batch_of(seed: int = 0, **changes: Any) -> PretextBatch:
    generator = torch_generator(seed, "test")
    image = torch.randn(3, 2, *SIDES, generator=generator)
    available = torch.tensor([[True, True], [True, False], [False, True]])
    image = image * available[:, :, None, None, None]
    body = torch.rand(3, 1, *SIDES, generator=generator) > 0.3
    view = torch.rand(3, 2, *SIDES, generator=generator) > 0.2
    fields = {"image": image, "available": available, "body": body, "field_of_view": view}
    return PretextBatch(**(fields | {"generator": torch_generator(seed, "masks")} | changes))


def again(batch: PretextBatch, seed: int = 0) -> PretextBatch:
    """Return the batch with a generator that draws the same masks."""
    return batch._replace(generator=torch_generator(seed, "masks"))


@pytest.mark.parametrize("masks", ["independent", "shared"])
@pytest.mark.parametrize("weights", [None, {"pet": 3.0}])
def test_the_loss_is_the_formula_of_the_docstring(masks: str, weights: Any) -> None:
    task, batch = make(masks=masks, weights=weights), batch_of()
    loss, terms = task.loss(again(batch))
    hidden = task.hide(again(batch))
    rebuilt = task.rebuild(batch.image, hidden).detach()
    assert batch.field_of_view is not None
    means = []
    for m, name in enumerate(NAMES):
        errors = [
            float(rebuilt[b, m, d, h, w] - batch.image[b, m, d, h, w]) ** 2
            for b, d, h, w in np.ndindex(3, *SIDES)
            if hidden[b, m, d, h, w]
            and batch.available[b, m]
            and batch.body[b, 0, d, h, w]
            and batch.field_of_view[b, m, d, h, w]
        ]
        means.append(np.mean(errors))
        assert float(terms[f"mse/{name}"]) == pytest.approx(means[-1], rel=1e-5)
    share = [1.0, (weights or {}).get("pet", 1.0)]
    assert float(loss.detach()) == pytest.approx(np.average(means, weights=share), rel=1e-5)


def test_one_modality_is_masked_and_the_others_stay_whole() -> None:
    task, seen = make(masks="one"), set()
    for seed in range(12):
        batch = batch_of(seed)
        hidden = task.hide(batch).flatten(2).float().mean(2)
        assert_close(hidden.sum(1), torch.full((3,), 0.5), rtol=0, atol=0.05)
        assert not hidden[1, 1]
        assert not hidden[2, 0]
        assert (hidden > 0).sum() == 3
        seen.add(int(hidden[0].argmax()))
    assert seen == {0, 1}


def test_the_mean_of_what_is_visible_fills_what_is_hidden() -> None:
    task, batch = make(token="mean"), batch_of()
    hidden = task.hide(again(batch))
    assert batch.field_of_view is not None
    there = batch.body & batch.field_of_view & batch.available[:, :, None, None, None]
    shown: list[Tensor] = []
    task.encoder.register_forward_hook(lambda part, given, out: shown.append(given[0]))
    task.loss(again(batch))
    for b, m in np.ndindex(3, 2):
        values = batch.image[b, m][~hidden[b, m] & there[b, m]]
        mean = float(values.double().mean()) if len(values) else 0.0
        filled = shown[0][b, m][hidden[b, m]]
        assert_close(filled, torch.full_like(filled, mean), rtol=0, atol=1e-6)
        assert torch.equal(shown[0][b, m][~hidden[b, m]], batch.image[b, m][~hidden[b, m]])


def test_what_is_visible_counts_with_its_weight() -> None:
    batch, plain, both = batch_of(), make(), make(visible=0.2)
    hidden = plain.hide(again(batch))
    rebuilt = plain.rebuild(batch.image, hidden).detach()
    assert batch.field_of_view is not None
    there = batch.body & batch.field_of_view & batch.available[:, :, None, None, None]
    means = [
        float((rebuilt - batch.image)[:, m][(there & ~hidden)[:, m]].square().mean())
        for m in range(2)
    ]
    more = float(both.loss(again(batch))[0].detach() - plain.loss(again(batch))[0].detach())
    assert more == pytest.approx(0.2 * np.mean(means), rel=1e-4)


def test_nothing_that_does_not_count_reaches_the_loss() -> None:
    task, batch = make(), batch_of()
    hidden = task.hide(again(batch))
    assert batch.field_of_view is not None
    counted = hidden & batch.body & batch.field_of_view & batch.available[:, :, None, None, None]
    # Hidden voxels are not seen by the network either, so those outside may hold anything.
    image = torch.where(hidden & ~counted, torch.tensor(float("nan")), batch.image)
    expected, _ = task.loss(again(batch))
    found, _ = task.loss(again(batch._replace(image=image)))
    assert_close(found, expected)
    found.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_only_counted_voxels_send_a_gradient() -> None:
    task, batch = make(), batch_of()
    kept: list[Tensor] = []

    def keep(module: Any, args: Any, output: list[Tensor]) -> None:
        output[0].retain_grad()
        kept.append(output[0])

    task.decoder.register_forward_hook(keep)
    hidden = task.hide(again(batch))
    task.loss(again(batch))[0].backward()
    assert batch.field_of_view is not None
    counted = hidden & batch.body & batch.field_of_view & batch.available[:, :, None, None, None]
    assert kept[0].grad is not None
    assert torch.equal(kept[0].grad != 0, counted)


def test_the_network_sees_nothing_of_what_is_hidden() -> None:
    task, batch = make(), batch_of()
    hidden = task.hide(again(batch))
    other = torch.where(hidden, batch.image + 7, batch.image)
    assert_close(task.rebuild(other, hidden), task.rebuild(batch.image, hidden))


def test_a_batch_without_anything_to_count_has_a_loss_of_zero() -> None:
    task = make()
    batch = batch_of(body=torch.zeros(3, 1, *SIDES, dtype=torch.bool))
    loss, terms = task.loss(batch)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(value.isnan() for value in terms.values())


def test_a_missing_field_of_view_means_all_of_it() -> None:
    task = make()
    one, _ = task.loss(batch_of(field_of_view=None))
    everywhere = torch.ones(3, 2, *SIDES, dtype=torch.bool)
    other, _ = task.loss(batch_of(field_of_view=everywhere))
    assert_close(one, other)


def test_masks_come_from_the_generator_alone() -> None:
    task, batch = make(), batch_of()
    torch.manual_seed(1)
    one = task.hide(again(batch))
    torch.manual_seed(2)
    assert torch.equal(one, task.hide(again(batch)))
    assert not torch.equal(one, task.hide(again(batch, seed=1)))


def test_an_absent_modality_is_never_hidden_nor_filled_with_a_token() -> None:
    task, batch = make(token="learned"), batch_of()
    assert task.token is not None
    torch.nn.init.constant_(task.token, 5.0)
    hidden = task.hide(again(batch))
    assert not hidden[1, 1].any()
    assert not hidden[2, 0].any()
    seen: list[Tensor] = []
    task.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    task.rebuild(batch.image, hidden)
    assert (seen[0][hidden] == 5).all()
    assert (seen[0][1, 1] == 0).all()


def test_a_learned_token_learns_and_starts_as_zero() -> None:
    plain, learned = make(), make(token="learned")
    one, _ = plain.loss(batch_of())
    other, _ = learned.loss(batch_of())
    assert_close(one, other)
    other.backward()
    assert learned.token is not None
    assert learned.token.grad is not None
    assert (learned.token.grad != 0).all()


def test_every_parameter_learns() -> None:
    task = make()
    task.loss(batch_of())[0].backward()
    # A bias in front of an instance norm has no effect, so its gradient is noise around 0.
    idle = [n for n, p in task.named_parameters() if p.grad is None]
    assert idle == []


def test_a_few_steps_rebuild_better_than_none() -> None:
    task = make()
    axis = torch.linspace(-1, 1, 10)
    image = axis.expand(2, 2, *SIDES).contiguous()
    parts = {"body": torch.ones(2, 1, *SIDES, dtype=torch.bool), "field_of_view": None}
    fixed = batch_of(image=image, available=torch.ones(2, 2, dtype=torch.bool), **parts)
    optimiser = torch.optim.AdamW(task.parameters(), 0.01)
    losses = []
    for _ in range(40):
        loss, _ = task.loss(fixed)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.3 * losses[0]


def test_pictures_show_input_holes_and_the_rebuilt_image() -> None:
    task, batch = make(), batch_of()
    hidden = task.hide(again(batch))
    shown = task.pictures(again(batch))
    assert list(shown) == ["input", "masked", "rebuilt"]
    assert torch.equal(shown["masked"].isnan(), hidden)
    assert torch.equal(shown["input"], batch.image)
    assert torch.equal(shown["rebuilt"][~hidden], batch.image[~hidden])
    assert_close(shown["rebuilt"][hidden], task.rebuild(batch.image, hidden)[hidden])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"ratio": 0.0}, "mask ratio must be above 0 and below 1, found 0.0"),
        ({"ratio": 1.0}, "mask ratio must be above 0 and below 1, found 1.0"),
        ({"block": 0}, "a block needs one side, or three"),
        ({"block": [4, 4]}, "a block needs one side, or three"),
        ({"masks": "some"}, "independent, shared or one"),
        ({"token": "red"}, "zero, learned or mean"),
        ({"weights": {"mr": 1.0}}, "weights must be for ct, pet"),
        ({"weights": {"ct": -1.0}}, "not negative"),
        ({"weights": {"ct": 0.0, "pet": 0.0}}, "one weight must be above 0"),
        ({"ratoi": 0.5}, "did you mean 'ratio'"),
    ],
)
def test_bad_parameters_are_one_clear_error(params: dict[str, Any], message: str) -> None:
    encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
    spec = {"name": "masked_autoencoder", **params}
    with pytest.raises(SettingsError, match=message):
        build(TASKS, spec, encoder=encoder, modalities=NAMES)


def test_a_patch_of_one_block_is_refused() -> None:
    with pytest.raises(SettingsError, match="at least two blocks"):
        make(block=8).check_patch((8, 8, 8))
    make(block=8).check_patch((8, 8, 10))
