"""What every decoder must keep; run by pytest, once for each `name`."""

from __future__ import annotations

import inspect
import json
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.core.precision import guard_bf16_conv3d
from hilum.core.registry import build
from hilum.encoders.decoders import DECODERS
from hilum.encoders.decoders.base import Decoder

from .host_reads import host_reads, pretended_gpu

TABLE = DECODERS
CLASSES = 3


def pyramid_of(name: str) -> tuple[tuple[int, ...], tuple[IntTriple, ...]]:
    """Return channels and strides of a small pyramid that it takes."""
    return DECODERS[name].small_pyramid


def make(name: str, classes: int = CLASSES, **more: Any) -> Decoder:
    """Return a small one; what its constructor does not name is left out, as fine-tuning does."""
    channels, strides = pyramid_of(name)
    known = inspect.signature(DECODERS[name]).parameters
    given = {key: value for key, value in more.items() if key in known}
    torch.manual_seed(0)
    spec = {"name": name, **DECODERS[name].small}
    return build(DECODERS, spec, channels=channels, strides=strides, classes=classes, **given)


def moved(decoder: Decoder) -> Decoder:
    """Take a decoder away from its start, where some parts are zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in decoder.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return decoder.eval()


def sides_of(name: str) -> tuple[int, ...]:
    """Return unequal sides of an image whose coarsest map has more than one voxel."""
    return tuple(s * n for s, n in zip(pyramid_of(name)[1][-1], (1, 2, 1), strict=True))


def maps(name: str, batch: int = 2, seed: int = 2) -> list[Tensor]:
    """Return the maps of an image of `sides_of`."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(
            batch,
            channels,
            *(n // s for n, s in zip(sides_of(name), stride, strict=True)),
            generator=generator,
        )
        for channels, stride in zip(*pyramid_of(name), strict=True)
    ]


def test_the_first_output_is_at_full_resolution_and_the_others_are_coarser(name: str) -> None:
    outputs = make(name)(maps(name))
    assert outputs[0].shape == (2, CLASSES, *sides_of(name))
    for fine, coarse in pairwise(outputs):
        assert coarse.shape[:2] == (2, CLASSES)
        assert coarse[0, 0].numel() < fine[0, 0].numel()


def test_without_deep_supervision_there_is_one_output(name: str) -> None:
    assert len(make(name, deep_supervision=False)(maps(name))) == 1
    if "deep_supervision" in inspect.signature(DECODERS[name]).parameters:
        assert len(make(name, deep_supervision=True)(maps(name))) > 1


def test_every_map_and_every_parameter_gets_a_gradient(name: str) -> None:
    """A parameter that lies idle stops distributed training."""
    decoder, given = moved(make(name)), [x.requires_grad_() for x in maps(name)]
    outputs = decoder.train()(given)
    weights = torch.Generator().manual_seed(3)
    total = [(x * torch.randn(x.shape, generator=weights)).sum() for x in outputs]
    torch.stack(total).sum().backward()
    for level, x in enumerate(given):
        assert x.grad is not None, f"level {level}"
        assert x.grad.abs().sum() > 0, f"level {level}"
    for key, parameter in decoder.named_parameters():
        assert parameter.grad is not None, key


def test_gradients_are_finite_under_bfloat16(name: str) -> None:
    decoder = guard_bf16_conv3d(make(name))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = decoder(maps(name))
    torch.stack([x.float().square().mean() for x in outputs]).sum().backward()
    for key, parameter in decoder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key


def test_heads_have_one_row_per_output_channel_finest_level_first(name: str) -> None:
    """So that transfer can keep the rows of classes that two networks share."""
    decoder = moved(make(name))
    own = dict(decoder.named_parameters())
    levels = decoder.head_rows()
    assert levels
    for level in levels:
        for key, rows in level.items():
            assert rows is own[key], key
            assert rows.shape[0] == CLASSES, key
    given = maps(name)
    with torch.no_grad():
        before = decoder(given)[0]
        for rows in levels[0].values():
            rows[1] += 1
        change = (decoder(given)[0] - before).abs().amax((0, 2, 3, 4))
    assert change[1] > 0, "the first level is that of the first output"
    assert change[0] == change[2] == 0, "a row is of its own channel alone"


def test_all_but_the_heads_is_the_same_for_any_classes(name: str) -> None:
    two, three = make(name, classes=2), make(name)
    heads = {key for level in three.head_rows() for key in level}
    assert {key: value.shape for key, value in two.body().items()} == {
        key: value.shape for key, value in three.body().items()
    }
    assert set(three.body()) | heads == set(three.state_dict())
    assert not set(three.body()) & heads


def test_it_starts_at_the_prior(name: str) -> None:
    if "prior" not in inspect.signature(DECODERS[name]).parameters:
        pytest.skip("it has no prior")
    for level in make(name, prior=0.1).head_rows():
        biases = [value for value in level.values() if value.ndim == 1]
        for bias in biases:
            share = bias.detach().softmax(0)[1:]
            assert_close(share, torch.full_like(share, 0.1))


def test_its_spec_and_state_build_it_again(name: str) -> None:
    decoder = moved(make(name))
    spec = json.loads(json.dumps(decoder.spec)) | {"name": name}
    channels, strides = pyramid_of(name)
    again = build(DECODERS, spec, channels=channels, strides=strides, classes=CLASSES)
    again.load_state_dict(decoder.state_dict(), strict=True)
    given = maps(name)
    for one, other in zip(again.eval()(given), decoder(given), strict=True):
        assert_close(one, other, rtol=0, atol=0)


def test_the_spec_keeps_deep_supervision(name: str) -> None:
    if "deep_supervision" not in inspect.signature(DECODERS[name]).parameters:
        pytest.skip("it has no deep_supervision")
    channels, strides = pyramid_of(name)
    for deep in (False, True):
        made = make(name, deep_supervision=deep)
        spec = made.spec | {"name": name}
        again = build(DECODERS, spec, channels=channels, strides=strides, classes=CLASSES)
        assert len(again(maps(name))) == len(made(maps(name)))


def test_a_case_does_not_depend_on_the_others_of_its_batch(name: str) -> None:
    decoder, given = moved(make(name)), maps(name)
    alone = decoder([x[:1] for x in given])
    for whole, one in zip(decoder(given), alone, strict=True):
        assert_close(whole[:1], one, rtol=1e-4, atol=1e-5)


def test_a_pyramid_that_begins_coarser_is_brought_up_or_refused(name: str) -> None:
    channels, strides = pyramid_of(name)
    coarser = tuple((2 * d, 2 * h, 2 * w) for d, h, w in strides)
    try:
        spec = {"name": name, **DECODERS[name].small}
        decoder = build(DECODERS, spec, channels=channels, strides=coarser, classes=CLASSES)
    except SettingsError:
        return
    found = decoder(maps(name))[0]
    assert found.shape == (2, CLASSES, *(2 * n for n in sides_of(name)))


def test_it_reads_nothing_on_the_host(name: str) -> None:
    decoder, given = make(name), maps(name)
    with host_reads() as found:
        torch.stack([x.sum() for x in decoder(given)]).sum().backward()
    assert not found


def test_it_computes_on_a_pretended_gpu(name: str) -> None:
    decoder, given = make(name), maps(name)
    with pretended_gpu() as move, host_reads() as found:
        outputs = move(decoder)(move(given))
    assert not found
    assert all(x.device.type == "cuda" for x in outputs)
