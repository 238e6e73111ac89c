"""A stem meets other input channels by a rule that is told, each with the equality it promises."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.exchange.weights_in.channels import adapt_stem, check_channels
from hilum.exchange.weights_in.source import Recipe


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


@pytest.mark.parametrize("seen", [("ct", "pet"), ("pet", "ct"), ("us", "pet", "ct")])
def test_a_named_channel_goes_to_its_own_modality_or_to_the_only_other_one(
    seen: tuple[str, ...],
) -> None:
    """Against a table of kernels by name, for every request of up to three modalities."""
    weight = torch.randn(4, len(seen), 1, 1, 1)
    kernels = dict(zip(seen, weight.unbind(1), strict=True))
    known = ("ct", "pet", "mr", "us")
    for asked in [names for n in (1, 2, 3) for names in permutations(known, n)]:
        strangers, left = set(asked) - set(seen), set(seen) - set(asked)
        if strangers and not len(strangers) == len(left) == 1:
            with pytest.raises(CheckpointError, match="--modalities " + ",".join(seen)):
                adapt_stem(weight, asked, "repeat", seen=seen)
            continue
        found, how = adapt_stem(weight, asked, "repeat", seen=seen)
        for place, name in enumerate(asked):
            own = name if name in seen else left.copy().pop()
            assert torch.equal(found[:, place], kernels[own]), (seen, asked)
            assert (f"{name} takes over {own}" in how) == (name in strangers)


def test_one_named_channel_for_another_modality_is_told() -> None:
    weight = torch.randn(4, 1, 1, 1, 1)
    found, how = adapt_stem(weight, ["pet"], "repeat", seen=["ct"])
    assert torch.equal(found, weight)
    assert how == "pet takes over ct"
    first, how = adapt_stem(weight, ["pet", "ct"], "first", seen=["ct"])
    assert torch.equal(first, torch.cat([torch.zeros_like(weight), weight], 1))
    assert "ct from the file, zeros for pet" in how


@pytest.mark.parametrize("asked", [["ct"], ["ct", "pet"], ["pet"]])
def test_channels_that_the_file_does_not_name_have_no_modality(asked: list[str]) -> None:
    """As in a cascade of nnU-Net: a CT, and the mask of the stage before."""
    with pytest.raises(CheckpointError, match=r"1 named \(ct\), 2 in the first layer.*3d_fullres"):
        adapt_stem(torch.ones(1, 2, 1, 1, 1), asked, "repeat", seen=["ct"])


@pytest.mark.parametrize(
    ("asked", "alone"),
    [
        (("pet", "ct"), ["pet"]),
        (("pet", "mr"), ["pet"]),
        (("spect", "ct"), ["spect"]),
        (("ct",), []),
    ],
)
def test_the_scale_goes_with_the_kernel(asked: tuple[str, ...], alone: list[str]) -> None:
    recipe = Recipe({}, {}, seen=("ct", "pet"), zscored=(False, True))
    assert recipe.scaled_alone(asked) == alone
    assert not recipe.notes


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
