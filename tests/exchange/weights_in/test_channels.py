"""A stem meets other input channels by a rule that is told, each with the equality it promises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.exchange.weights_in.channels import adapt_stem, check_channels


def convolve(image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.conv3d(image, weight, padding=1)


@pytest.mark.parametrize("count", [2, 3])
def test_each_strategy_keeps_what_it_promises(count: int) -> None:
    weight, x = torch.randn(4, 1, 3, 3, 3), torch.randn(1, 1, 4, 5, 6)
    names = ["ct", "pet", "mr"][:count]
    wanted, none = convolve(x, weight), torch.zeros_like(x)
    alike = torch.cat([x] * count, 1)
    alone = [
        torch.cat([x if here == there else none for there in range(count)], 1)
        for here in range(count)
    ]
    repeat, how = adapt_stem(weight, names, "repeat")
    assert_close(convolve(alike, repeat), wanted, rtol=1e-5, atol=1e-5)
    assert how == f"[4, 1, 3, 3, 3] to [4, {count}, 3, 3, 3]: repeated and divided by {count}"
    first, how = adapt_stem(weight, names, "first")
    assert_close(convolve(torch.cat([x, *torch.randn(count - 1, 1, 1, 4, 5, 6)], 1), first), wanted)
    assert "ct from the file, zeros for pet" in how
    each, how = adapt_stem(weight, names, "per_modality")
    for image in alone:
        assert_close(convolve(image, each), wanted)
    assert "the whole stem for each" in how


def test_one_channel_for_one_modality_is_left_alone() -> None:
    weight = torch.randn(4, 1, 3, 3, 3)
    found, how = adapt_stem(weight, ["mr"], "repeat")
    assert found is weight
    assert how == ""


def test_channels_are_picked_and_ordered_by_name() -> None:
    weight = torch.randn(4, 3, 1, 1, 1)
    found, how = adapt_stem(weight, ["pet", "ct"], "repeat", seen=["ct", "mr", "pet"])
    assert_close(found, weight[:, [2, 0]])
    assert how == "channels pet, ct of ct, mr, pet"
    same, how = adapt_stem(weight, ["a", "b", "c"], "repeat")
    assert same is weight
    assert how == ""


def test_colours_are_summed_as_timm_does_for_gray() -> None:
    from timm.models import adapt_input_conv

    weight = torch.randn(4, 3, 7, 7)
    found, how = adapt_stem(weight, ["ct"], "repeat", colours=True)
    assert_close(found, adapt_input_conv(1, weight))
    assert how == "3 colours summed"
    spread, how = adapt_stem(weight, ["ct", "pet", "mr"], "repeat", colours=True)
    assert_close(spread.sum(1), weight.sum(1))
    assert "divided by 3" in how


@pytest.mark.parametrize(("have", "names"), [(4, ["ct", "pet"]), (2, ["ct"]), (2, ["a", "b", "c"])])
def test_counts_that_cannot_meet_are_one_clear_error(have: int, names: list[str]) -> None:
    with pytest.raises(CheckpointError, match=rf"{have} channels, {len(names)} modalities"):
        adapt_stem(torch.ones(1, have, 1, 1, 1), names, "repeat")


def test_an_unknown_strategy_gets_a_suggestion() -> None:
    wrong: Any = "repeats"
    with pytest.raises(SettingsError, match="did you mean 'repeat'"):
        check_channels(wrong)
