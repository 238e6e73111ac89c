"""The triple turns, paints over and contrasts, and counts what it says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.seeds import torch_generator
from hilum.pretrain.tasks.swin_triple import SwinTriple

PAIRED = torch.ones(4, 2, dtype=torch.bool)


def make(made: Any, **params: Any) -> SwinTriple:
    return SwinTriple(encoder=made.encoder(), modalities=("ct", "pet"), width=8, **params).eval()


def test_samples_turn_about_the_depth_axis_with_what_counts(made: Any) -> None:
    seen = set()
    for seed in range(6):
        batch = made.batch()._replace(generator=torch_generator(seed, "x"))
        image, counted, turns = make(made).turned(batch)
        for row, k in enumerate(turns.tolist()):
            seen.add(k)
            assert_close(image[row].numpy(), np.rot90(batch.image[row].numpy(), k, (2, 3)).copy())
            body = np.rot90(batch.body[row, 0].numpy(), k, (1, 2))
            for channel in range(2):
                expected = body if batch.available[row, channel] else np.zeros_like(body)
                assert (counted[row, channel].numpy() == expected).all()
    assert seen == {0, 1, 2, 3}


def test_patches_of_unequal_sides_make_half_turns(made: Any) -> None:
    made.sides = (8, 16, 12)
    turns = [
        make(made).turned(made.batch()._replace(generator=torch_generator(s, "x")))[2]
        for s in range(6)
    ]
    assert set(torch.cat(turns).tolist()) == {0, 2}


def test_only_boxes_of_available_modalities_are_painted_over(made: Any) -> None:
    batch = made.batch()
    painted, hidden = make(made).paint(batch.image, batch)
    assert_close(painted[~hidden], batch.image[~hidden], rtol=0, atol=0)
    assert not hidden[1, 1].any()
    assert 0.02 < hidden[0].float().mean() < 0.9
    assert (painted[1, 1] == 0).all()


def test_the_loss_is_the_weighted_sum_of_its_terms(made: Any) -> None:
    loss, terms = make(made, weights={"rotation": 2.0, "contrast": 0.5}).loss(made.batch(PAIRED))
    expected = terms["inpainting"] + 2 * terms["rotation"] + 0.5 * terms["contrast"]
    assert_close(loss.detach(), expected)
    assert 0 <= float(terms["rotation_accuracy"]) <= 1


def test_the_inpainting_error_by_hand(made: Any) -> None:
    task, batch = make(made), made.batch()
    target, counted, _ = task.turned(batch)
    painted, hidden = task.paint(target, batch)
    maps = task.encoder(painted)
    rebuilt = task.decoder(maps)[0]
    each = []
    for channel in range(2):
        where = (hidden & counted)[:, channel]
        each.append((rebuilt[:, channel] - target[:, channel]).abs()[where].mean())
    assert_close(task._error(maps, target, hidden & counted), torch.stack(each).mean())


def test_wrong_parameters_are_named(made: Any) -> None:
    assert SwinTriple.least_batch == 2
    with pytest.raises(SettingsError, match="weights must be for inpainting, rotation, contrast"):
        make(made, weights={"turn": 1.0})
    with pytest.raises(SettingsError, match="boxes must be at least 1"):
        make(made, boxes=0)
