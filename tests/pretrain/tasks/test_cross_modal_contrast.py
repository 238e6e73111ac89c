"""The CT and the PET of one place are alike; what may not stand against a place does not."""

from __future__ import annotations

from math import dist, exp, log
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.seeds import numpy_generator, torch_generator
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.tasks.cross_modal_contrast import CrossModalContrast, at_cells, centres, rolled

SIDES = (8, 12, 16)
NAMES = ("ct", "pet")
HAVE = torch.tensor([[True, True], [True, False], [True, True], [False, True], [True, True]])
CASES = ("a", "b", "c", "d", "a")


def make(names: tuple[str, ...] = NAMES, **params: Any) -> CrossModalContrast:
    torch.manual_seed(0)
    encoder = ResencEncoder(in_channels=len(names), features=[4, 8], blocks=[1, 1])
    given: dict[str, Any] = {"cell": 4, "near": 6.0, "hidden": 8, "dim": 4} | params
    return CrossModalContrast(encoder=encoder, modalities=names, **given)


def batch_of(have: torch.Tensor = HAVE, seed: int = 0, **changes: Any) -> PretextBatch:
    generator, (count, modalities) = torch_generator(seed, "test"), have.shape
    image = torch.randn(count, modalities, *SIDES, generator=generator)
    body = torch.ones(count, 1, *SIDES, dtype=torch.bool)
    body[:, :, :, :, :5] = False
    fields: dict[str, Any] = {
        "image": image * have[:, :, None, None, None],
        "available": have,
        "body": body,
        "generator": torch_generator(seed, "places"),
        "cases": CASES[:count],
    }
    return PretextBatch(**(fields | changes))


def again(batch: PretextBatch, seed: int = 0) -> PretextBatch:
    return batch._replace(
        generator=torch_generator(seed, "places"), host=numpy_generator(seed, "shapes")
    )


@pytest.mark.parametrize("places", [9, 128])
def test_the_loss_is_the_formula_of_the_docstring(places: int) -> None:
    task, batch = make(places=places, temperature=0.3), batch_of()
    task.eval()
    loss, terms = task.loss(again(batch))
    found = task.embed(again(batch), places)
    assert found.rows.tolist() == [0, 2, 4]
    all_places = [
        (r, k)
        for r, k in np.ndindex(*found.cells.shape)
        if found.counts[r, 0, k] and found.counts[r, 1, k]
    ]
    assert len(all_places) == (27 if places == 9 else 3 * 2 * 3 * 3)
    losses, right = [], []
    for a, b in ((0, 1), (1, 0)):
        for r, k in all_places:
            mine = found.features[r, a, k].tolist()
            scores = []
            for r2, k2 in all_places:
                far = dist(found.centres[r, k].tolist(), found.centres[r2, k2].tolist()) > 6
                own = (r, k) == (r2, k2)
                cases = [CASES[int(found.rows[x])] for x in (r, r2)]
                if own or (far if r == r2 else cases[0] != cases[1]):
                    other = found.features[r2, b, k2].tolist()
                    alike = sum(x * y for x, y in zip(mine, other, strict=True)) / 0.3
                    scores.append((own, alike))
            positive = next(score for own, score in scores if own)
            losses.append(log(sum(exp(score) for _, score in scores)) - positive)
            right.append(positive == max(score for _, score in scores))
    assert float(loss.detach()) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(terms["contrast/ct_pet"]) == pytest.approx(np.mean(losses), rel=1e-4)
    assert float(terms["found/ct_pet"]) == pytest.approx(np.mean(right), abs=1e-6)


def test_each_modality_is_encoded_alone() -> None:
    task, batch = make(), batch_of()
    first = task.embed(again(batch), 9).features
    image = batch.image.clone()
    image[:, 1] += 3
    second = task.embed(again(batch._replace(image=image)), 9).features
    assert_close(first[:, 0], second[:, 0])
    assert not torch.allclose(first[:, 1], second[:, 1])


def test_samples_without_a_pair_do_not_count() -> None:
    task, batch = make(), batch_of()
    pairs = HAVE.all(1)
    alone = PretextBatch(
        batch.image[pairs],
        HAVE[pairs],
        batch.body[pairs],
        torch_generator(0, "places"),
        cases=("a", "c", "a"),
    )
    assert_close(task.loss(again(batch))[0], task.loss(again(alone))[0])


@pytest.mark.parametrize(
    "have", [[[True, False], [True, False]], [[True, False], [False, True]], [[False, False]]]
)
def test_a_batch_without_a_pair_has_a_zero_that_reaches_every_weight(have: Any) -> None:
    task = make()
    loss, terms = task.loss(batch_of(torch.tensor(have)))
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(value.isnan() for value in terms.values())
    assert all(p.grad is not None and not p.grad.any() for p in task.parameters())


def test_a_pair_outside_of_body_or_field_of_view_does_not_count() -> None:
    task = make()
    empty = torch.zeros(5, 1, *SIDES, dtype=torch.bool)
    assert all(value.isnan() for value in task.loss(batch_of(body=empty))[1].values())
    view = torch.ones(5, 2, *SIDES, dtype=torch.bool)
    view[:, 1] = False
    assert all(value.isnan() for value in task.loss(batch_of(field_of_view=view))[1].values())
    view[0, 1] = True
    assert "contrast/ct_pet" in task.loss(batch_of(field_of_view=view))[1]


def test_three_modalities_make_three_pairs_of_what_there_is() -> None:
    task = make(("ct", "pet", "mr_t1"))
    have = torch.tensor([[True, True, False], [True, False, True]])
    loss, terms = task.loss(batch_of(have))
    assert {name for name, value in terms.items() if not value.isnan()} == {
        "contrast/ct_pet", "found/ct_pet", "contrast/ct_mr_t1", "found/ct_mr_t1"
    }  # fmt: skip
    mean = (terms["contrast/ct_pet"] + terms["contrast/ct_mr_t1"]) / 2
    assert_close(loss.detach(), mean)


def test_cells_average_finer_maps_and_repeat_coarser_ones() -> None:
    fine = torch.randn(1, 2, 4, 6, 8)
    coarse = torch.randn(1, 3, 1, 3, 2)
    joined = at_cells([fine, coarse], (2, 3, 4))
    assert joined.shape == (1, 5, 2, 3, 4)
    assert_close(joined[0, :2, 1, 2, 3], fine[0, :, 2:, 4:, 6:].mean((1, 2, 3)))
    assert_close(joined[0, 2:, 1, 2, 3], coarse[0, :, 0, 2, 1])
    middles = centres((2, 3, 4), (4, 2, 8), torch.device("cpu"))
    assert middles[23].tolist() == [6, 5, 28]


def test_a_rolled_cell_is_found_where_its_voxels_went() -> None:
    image = torch.arange(24.0).view(2, 3, 4)
    cells = torch.arange(24).expand(2, -1)
    steps = torch.tensor([[1, 2, 3], [0, 1, 2]])
    index = rolled(cells, steps, (2, 3, 4))
    for row, step in enumerate(steps.tolist()):
        moved = image.roll(step, (0, 1, 2)).flatten()
        assert torch.equal(moved[index[row]], image.flatten())


@pytest.mark.parametrize("roll", [True, False])
def test_the_border_tells_no_place(roll: bool) -> None:
    task = make(roll=roll, hidden=32, dim=16)
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    have, often = torch.ones(2, 2, dtype=torch.bool), []
    for step in range(40):
        # Nothing to see: only the padding differs from place to place.
        batch = batch_of(have, image=torch.ones(2, 2, *SIDES), seed=step)
        loss, terms = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        often.append(float(terms["found/ct_pet"]))
    late = np.mean(often[-10:])
    # By chance one of about 30, at most half of them alike.
    assert late < 0.12 if roll else late > 0.25


def test_bfloat16_leaves_the_loss_finite() -> None:
    task = make()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = task.loss(batch_of())
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.parameters())


def test_pictures_take_the_blocks_that_are_found() -> None:
    task = make()
    volumes = task.pictures(batch_of())
    found, image = volumes["found"], volumes["input"]
    assert torch.isnan(found[[1, 3]]).all(), "no pair, no picture"
    assert torch.isnan(found[0, :, :, :, :4]).all(), "outside of the body"
    block = found[0, 1, 4:, 8:, 12:]
    blocks = image[HAVE.all(1), 1].unfold(1, 4, 4).unfold(2, 4, 4).unfold(3, 4, 4)
    assert (blocks == block).all(-1).all(-1).all(-1).any()


def test_training_finds_the_places() -> None:
    task = make(hidden=32, dim=16)
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    have, often = torch.ones(3, 2, dtype=torch.bool), []
    for step in range(40):
        batch = batch_of(have, seed=step, cases=("a", "b", "c"))
        flat = torch.randn(3, 2, 3, 4, generator=torch_generator(step, "flat"))
        for axis in (1, 2, 3):
            flat = flat.repeat_interleave(4, axis)
        batch.image[:, 0], batch.image[:, 1] = flat, -flat
        loss, terms = task.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        often.append(float(terms["found/ct_pet"]))
    assert np.mean(often[-5:]) > 2.5 * np.mean(often[:3])


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"names": ("ct",)}, "two modalities"),
        ({"temperature": 0.0}, "temperature"),
        ({"places": 1}, "places"),
        ({"near": -1.0}, "near"),
        ({"cell": 0}, "block"),
        ({"dim": 0}, "dim"),
    ],
)
def test_impossible_settings_are_refused(params: dict[str, Any], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        make(**params)


@pytest.mark.parametrize("patch", [(8, 8, 10), (4, 4, 4)])
def test_a_patch_must_be_cells(patch: tuple[int, int, int]) -> None:
    with pytest.raises(SettingsError, match="whole number of cells"):
        make().check_patch(patch)
