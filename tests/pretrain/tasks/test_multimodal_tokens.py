"""Only visible tokens are encoded, as the dense encoder would; every modality is rebuilt."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.encoders.resenc import ResencEncoder
from hilum.encoders.vit import VitEncoder
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.parts.patch_decoder import CrossBlock, place_waves
from hilum.pretrain.parts.patches import from_patches, to_patches
from hilum.pretrain.parts.visible_tokens import Visible, joint_tokens, separate_tokens
from hilum.pretrain.tasks.multimodal_tokens import MultimodalTokens

SIDES = (8, 12, 16)
NAMES = ("ct", "pet")
HAVE = torch.tensor([[True, True], [True, False], [False, True]])
PLACES = 2 * 3 * 4


def make(**params: Any) -> MultimodalTokens:
    torch.manual_seed(0)
    encoder = VitEncoder(
        in_channels=2, token=4, trained=[8, 8, 16], width=24, depth=2, heads=2, features=[4, 4, 8]
    )
    given: dict[str, Any] = {"decoder_width": 24, "decoder_heads": 2} | params
    return MultimodalTokens(encoder=encoder, modalities=NAMES, **given)


def batch_of(have: torch.Tensor = HAVE, seed: int = 0, **changes: Any) -> PretextBatch:
    generator, count = torch_generator(seed, "test"), len(have)
    image = torch.randn(count, 2, *SIDES, generator=generator)
    fields: dict[str, Any] = {
        "image": image * have[:, :, None, None, None],
        "available": have,
        "body": torch.rand(count, 1, *SIDES, generator=generator) > 0.3,
        "field_of_view": torch.rand(count, 2, *SIDES, generator=generator) > 0.2,
        "generator": torch_generator(seed, "masks"),
    }
    return PretextBatch(**(fields | changes))


def again(batch: PretextBatch, seed: int = 0) -> PretextBatch:
    return batch._replace(generator=torch_generator(seed, "masks"))


@pytest.mark.parametrize("tokens", ["joint", "separate"])
@pytest.mark.parametrize("weights", [None, {"pet": 3.0}])
def test_the_loss_is_the_formula_of_the_docstring(tokens: str, weights: Any) -> None:
    task, batch = make(tokens=tokens, weights=weights), batch_of()
    loss, terms = task.loss(again(batch))
    visible, hidden = task.hide(again(batch))
    rebuilt = task.rebuild(batch.image, visible).detach()
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
        assert float(terms[f"mse/{name}"]) == pytest.approx(means[-1], rel=1e-4)
    share = [1.0, (weights or {}).get("pet", 1.0)]
    assert float(loss.detach()) == pytest.approx(np.average(means, weights=share), rel=1e-4)


def test_all_tokens_give_what_the_saved_encoder_gives_of_a_zeroed_image() -> None:
    task, batch = make(), batch_of()
    task.eval()
    members = torch.rand(3, PLACES, 2, generator=torch_generator(0, "members")) > 0.4
    order = torch.stack([torch.randperm(PLACES) for _ in range(3)])
    seen = members.gather(1, order[..., None].expand(-1, -1, 2))
    visible = Visible(order, seen, torch.ones_like(order, dtype=torch.bool))
    found = task.encode(batch.image, visible)
    blocks = members.transpose(1, 2).unflatten(2, (2, 3, 4))
    for axis in (2, 3, 4):
        blocks = blocks.repeat_interleave(4, axis)
    expected = task.encoder(batch.image * blocks)[-1].flatten(2).transpose(1, 2)
    expected = expected.gather(1, order[..., None].expand(-1, -1, 24))
    assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokens", ["joint", "separate"])
def test_the_network_sees_nothing_of_what_is_hidden(tokens: str) -> None:
    task, batch = make(tokens=tokens), batch_of()
    visible, hidden = task.hide(batch)
    other = torch.where(hidden, batch.image + 7, batch.image)
    assert_close(task.rebuild(other, visible), task.rebuild(batch.image, visible))
    assert hidden.flatten(1).any(1).all()
    assert not (hidden & ~HAVE[:, :, None, None, None]).any()


def test_tokens_that_fill_a_row_change_nothing() -> None:
    task, batch = make(tokens="separate"), batch_of()
    visible, _ = task.hide(batch)
    assert not visible.valid.all(), "samples with one modality have fewer tokens"
    both = task.rebuild(batch.image, visible)
    length = int(visible.valid[1].sum())
    own = Visible(*(part[1:2, :length] for part in visible))
    assert_close(task.rebuild(batch.image[1:2], own), both[1:2], rtol=1e-4, atol=1e-5)


def test_joint_tokens_are_places_of_every_kind() -> None:
    have = torch.ones(2000, 2, dtype=torch.bool)
    visible = joint_tokens(have, 40, 0.75, 1.0, 0.0, torch_generator(0, "joint"))
    assert visible.places.shape == (2000, 10)
    assert (visible.places.sort(1)[0].diff(dim=1) > 0).all(), "no place twice"
    assert visible.members.any(2).all(), "no token is empty"
    kinds = visible.members.long() @ torch.tensor([1, 2])
    often = torch.stack([(kinds == kind).float().mean() for kind in (1, 2, 3)])
    assert often.tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    # Of all patches, a sixth.
    assert float(visible.seen(40).float().mean()) == pytest.approx(1 / 6, abs=0.01)
    share = (kinds == 3).float().mean(1)
    # Deviation of one of three parts of a flat Dirichlet: sqrt(1/18).
    assert float(share.std()) == pytest.approx(18**-0.5, abs=0.03)


def test_separate_tokens_are_patches_and_follow_what_a_sample_has() -> None:
    have = HAVE.repeat(300, 1)
    visible = separate_tokens(have, 40, 0.75, 1.0, 0.0, torch_generator(0, "separate"))
    assert visible.valid[:3].sum(1).tolist() == [20, 10, 10]
    assert (visible.members.sum(2) == visible.valid).all()
    assert torch.equal(visible.seen(40).sum((1, 2)), visible.valid.sum(1))
    assert not (visible.seen(40) & ~have[..., None]).any()


def test_a_drop_leaves_a_modality_out_of_all_tokens() -> None:
    have = torch.ones(1000, 2, dtype=torch.bool)
    for draw in (joint_tokens, separate_tokens):
        gone = ~draw(have, 40, 0.5, 20.0, 0.4, torch_generator(0, "drop")).seen(40).any(2)
        assert not gone.all(1).any()
        assert float(gone.any(1).float().mean()) == pytest.approx(0.64, abs=0.05)


def test_a_sample_with_nothing_and_a_batch_without_body_stay_finite() -> None:
    nothing = torch.tensor([[True, True], [False, False]])
    for tokens in ("joint", "separate"):
        task = make(tokens=tokens)
        loss, _ = task.loss(batch_of(nothing))
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())
        empty = batch_of(body=torch.zeros(3, 1, *SIDES, dtype=torch.bool))
        loss, terms = task.loss(empty)
        assert float(loss.detach()) == 0
        assert all(value.isnan() for value in terms.values())


def test_patches_are_cut_and_put_together_without_loss() -> None:
    image = torch.arange(2 * 2 * 8 * 12 * 16.0).view(2, 2, 8, 12, 16)
    patches = to_patches(image, (4, 3, 2), (2, 4, 8))
    assert torch.equal(patches[1, 7, 0], image[1, 0, 2:4, 0:4, 8:16].flatten())
    assert torch.equal(from_patches(patches.transpose(1, 2), (4, 3, 2), (2, 4, 8)), image)


def test_cross_attention_is_the_softmax_of_scaled_products() -> None:
    torch.manual_seed(0)
    block = CrossBlock(12, 3)
    queries, context = torch.randn(2, 5, 12), torch.randn(2, 7, 12)
    q = block.ask(block.before(queries))
    k, v = block.tell(block.beside(context)).split(12, -1)
    parts = []
    for head in range(3):
        own = slice(4 * head, 4 * head + 4)
        weights = (q[..., own] @ k[..., own].transpose(1, 2) / 4**0.5).softmax(-1)
        parts.append(weights @ v[..., own])
    expected = queries + block.out(torch.cat(parts, -1))
    expected = expected + block.mlp(block.between(expected))
    assert_close(block(queries, context, None), expected)


def test_every_place_has_waves_of_its_own() -> None:
    waves = place_waves((2, 3, 4), 20, torch.device("cpu"))
    assert waves.shape == (24, 20)
    assert len({tuple(row) for row in waves.round(decimals=4).tolist()}) == 24
    assert (waves[:, 18:] == 0).all()
    # Place 23 is (1, 2, 3); a third of the channels each.
    assert_close(
        waves[23, [0, 3, 6, 9, 12, 15]],
        torch.tensor([1, 1, 2, 2, 3, 3.0]).sin() * torch.tensor([1, 0, 1, 0, 1, 0.0])
        + torch.tensor([1, 1, 2, 2, 3, 3.0]).cos() * torch.tensor([0, 1, 0, 1, 0, 1.0]),
    )


@pytest.mark.parametrize("tokens", ["joint", "separate"])
def test_training_lowers_the_error(tokens: str) -> None:
    task = make(tokens=tokens)
    optimiser = torch.optim.AdamW(task.parameters(), 3e-3)
    axes = torch.meshgrid(*(torch.linspace(-1, 1, s) for s in SIDES), indexing="ij")
    errors = []
    for step in range(60):
        batch = batch_of(seed=step)
        tilt = torch.randn(3, 1, 1, 1, generator=torch_generator(step, "tilt"))
        for channel, sign in enumerate((1, -1)):
            batch.image[:, channel] = sign * (axes[0] + tilt) * HAVE[:, channel, None, None, None]
        loss, _ = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        errors.append(float(loss.detach()))
    assert np.mean(errors[-10:]) < 0.4 * np.mean(errors[:5])


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"ratio": 0.0}, "ratio"),
        ({"ratio": 1.0}, "ratio"),
        ({"tokens": "both"}, "tokens"),
        ({"alpha": -1.0}, "alpha"),
        ({"drop": 1.0}, "drop"),
        ({"decoder_heads": 5}, "heads"),
        ({"weights": {"ct": 0.0, "pet": 0.0}}, "weights"),
    ],
)
def test_impossible_settings_are_refused(params: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        make(**params)


def test_an_encoder_that_cannot_leave_tokens_out_is_refused() -> None:
    encoder = ResencEncoder(in_channels=2, features=[4, 8], blocks=[1, 1])
    with pytest.raises(SettingsError, match="vit"):
        MultimodalTokens(encoder=encoder, modalities=NAMES)


def test_a_patch_of_one_token_is_refused() -> None:
    with pytest.raises(SettingsError, match="two tokens"):
        make().check_patch((4, 4, 4))
