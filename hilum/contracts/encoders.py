"""What every encoder must keep, whatever its family; run by pytest, once for each `name`."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.checkpoints import EncoderConfig, load_weights, read_config, save_encoder, state_of
from hilum.core.errors import SettingsError
from hilum.core.precision import guard_bf16_conv3d
from hilum.core.registry import build
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.decoders.pyramid import PyramidDecoder

from .host_reads import host_reads, pretended_gpu

TABLE = ENCODERS
SIDES = (32, 64, 32)
COMPILE = f"""
import json, sys
import torch
from hilum.core.registry import build
from hilum.encoders import ENCODERS
torch.manual_seed(0)
encoder = build(ENCODERS, json.loads(sys.argv[1]), in_channels=2).eval()
image = torch.randn(1, 2, *{SIDES})
with torch.no_grad():
    expected = encoder(image)
    found = torch.compile(encoder, backend="aot_eager", fullgraph=True)(image)
print(max(((a - b).norm() / b.norm()).item() for a, b in zip(found, expected)))
"""


def spec_of(name: str) -> dict[str, Any]:
    """Return name and parameters of a small one."""
    return {"name": name, **ENCODERS[name].small}


def make(name: str, channels: int = 2, **more: Any) -> Encoder:
    torch.manual_seed(0)
    return build(ENCODERS, {**spec_of(name), **more}, in_channels=channels)


def needs(name: str, parameter: str) -> None:
    """Skip a check of a parameter that an encoder may lack."""
    if parameter not in inspect.signature(ENCODERS[name]).parameters:
        pytest.skip(f"it has no {parameter}")


def moved(encoder: Encoder) -> Encoder:
    """Take an encoder away from its start, where some parts are zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in encoder.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return encoder


def test_the_pyramid_is_as_announced_at_unequal_sides(name: str) -> None:
    encoder = make(name)
    maps = encoder(torch.randn(2, 2, *SIDES))
    assert len(maps) == len(encoder.channels) == len(encoder.strides)
    for x, channels, stride in zip(maps, encoder.channels, encoder.strides, strict=True):
        assert x.shape == (2, channels, *(n // s for n, s in zip(SIDES, stride, strict=True)))


def test_the_decoder_brings_it_back_to_full_resolution(name: str) -> None:
    encoder = make(name)
    decoder = PyramidDecoder(encoder.channels, encoder.strides, 3)
    assert decoder(encoder(torch.randn(2, 2, *SIDES)))[0].shape == (2, 3, *SIDES)


def test_gradients_are_finite_under_bfloat16(name: str) -> None:
    encoder = guard_bf16_conv3d(make(name))
    with torch.autocast("cpu", torch.bfloat16):
        maps = encoder(torch.randn(2, 2, *SIDES))
    sum(x.float().square().mean() for x in maps).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), key
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_every_parameter_gets_a_gradient(name: str) -> None:
    """A parameter that lies idle stops distributed training."""
    encoder = make(name)
    for key, parameter in encoder.named_parameters():
        if key.endswith("weight"):  # away from norms that start at zero
            parameter.data += 0.1 * torch.randn_like(parameter)
    maps = encoder(torch.randn(2, 2, *SIDES))
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        if key.endswith("weight"):
            assert parameter.grad.abs().sum() > 0, key


def test_the_same_seed_builds_the_same_network(name: str) -> None:
    first, second = make(name).state_dict(), make(name).state_dict()
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


def test_bfloat16_is_close_to_float32(name: str) -> None:
    encoder = guard_bf16_conv3d(moved(make(name)).eval())
    image = torch.randn(1, 2, *SIDES)
    with torch.no_grad():
        expected = encoder(image)
        with torch.autocast("cpu", torch.bfloat16):
            found = encoder(image)
    for level, (got, want) in enumerate(zip(found, expected, strict=True)):
        error = (got.float() - want).norm() / want.norm()
        assert error < 0.05, f"level {level}: {error:.3f}"


def test_recomputed_activations_give_the_same_gradients_and_statistics(name: str) -> None:
    """And the parts are indeed computed twice."""
    needs(name, "checkpoint_activations")
    image, found, calls = torch.randn(2, 2, *SIDES), [], []
    for again in (False, True):
        encoder = moved(make(name, checkpoint_activations=again)).train()
        count = [0]
        for part in encoder.modules():
            if not list(part.children()):
                part.register_forward_hook(lambda *_, n=count: n.__setitem__(0, n[0] + 1))
        torch.manual_seed(2)
        maps = encoder(image)
        forward = count[0]
        sum(x.square().mean() for x in maps).backward()  # pyright: ignore[reportAttributeAccessIssue]
        calls.append(count[0] - forward)
        gradients = {k: p.grad for k, p in encoder.named_parameters()}
        found.append((gradients, dict(encoder.named_buffers())))
    assert calls[0] == 0 < calls[1]
    for got, want in zip(found[1], found[0], strict=True):
        assert_close(got, want, rtol=1e-5, atol=1e-7)


def test_an_encoder_folder_gives_it_back(name: str, tmp_path: Path) -> None:
    """From its settings and weights alone, each tensor stored once."""
    encoder = moved(make(name)).eval()
    config = EncoderConfig(
        architecture=spec_of(name),
        modalities=("ct", "pet"),
        spacing=(3.0, 2.0, 2.0),
        patch=SIDES,
    )  # pyright: ignore[reportCallIssue]
    folder = save_encoder(tmp_path / "encoder", encoder, config)
    weights = read_weights(folder)
    own = {value.data_ptr() for value in encoder.state_dict().values() if value.numel()}
    assert len(weights) <= len(own) + 1
    again = build(ENCODERS, read_config(folder).architecture, in_channels=2).eval()
    report = load_weights(again, weights, threshold=1.0)
    assert not report.missing
    assert not report.unexpected
    image = torch.randn(1, 2, *SIDES)
    for got, want in zip(again(image), encoder(image), strict=True):
        assert_close(got, want, rtol=0, atol=0)


@pytest.mark.slow
def test_a_compiled_encoder_gives_the_same_features(name: str) -> None:
    """In a process of its own: the type checks of these tests cannot be compiled."""
    if ENCODERS[name].not_compiled:
        pytest.skip(ENCODERS[name].not_compiled)
    spec = json.dumps(spec_of(name))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE, spec],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 1e-4


def test_other_sides_than_the_first_work(name: str) -> None:
    encoder = make(name).eval()
    sides = (64, 32, 64)
    with torch.no_grad():
        for x, stride in zip(encoder(torch.randn(1, 2, *sides)), encoder.strides, strict=True):
            assert tuple(x.shape[2:]) == tuple(n // s for n, s in zip(sides, stride, strict=True))


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_every_size_can_be_named(name: str, size: str) -> None:
    """Built without memory for its parameters; `benchmarks/encoders.py` measures the time."""
    needs(name, "size")
    # MONAI's Swin computes with numbers while it is built, which needs a real device.
    with torch.device("cpu" if name == "swin" else "meta"):
        encoder = build(ENCODERS, {"name": name, "size": size}, in_channels=2)
    assert len(encoder.channels) == len(encoder.strides) >= 3


def test_an_unknown_size_is_answered_with_the_nearest(name: str) -> None:
    needs(name, "size")
    with pytest.raises(SettingsError, match="unknown size 'smal', did you mean 'small'"):
        build(ENCODERS, {"name": name, "size": "smal"}, in_channels=2)


def test_a_saved_state_gives_the_same_features(name: str) -> None:
    encoder, again = make(name).eval(), make(name)
    for parameter in again.parameters():
        parameter.data.normal_()
    again.load_state_dict(encoder.state_dict(), strict=True)
    image = torch.randn(1, 2, *SIDES)
    for got, want in zip(again.eval()(image), encoder(image), strict=True):
        assert_close(got, want, rtol=0, atol=0)


def test_the_stem_sees_the_modalities(name: str) -> None:
    encoder = make(name, channels=3)
    state = encoder.state_dict()
    assert encoder.stem
    for key in encoder.stem:
        assert state[key].shape[1] == 3


def test_a_slice_of_the_stem_is_the_network_with_the_other_channel_at_zero(name: str) -> None:
    pretrained, alone = make(name).eval(), make(name, channels=1).eval()
    report = load_weights(
        alone,
        state_of(pretrained),
        source=("ct", "pet"),
        target=("pet",),
        stem=alone.stem,
        threshold=1.0,
    )
    assert report.covered == 1
    pet = torch.randn(2, 1, *SIDES)
    expected = pretrained(torch.cat([torch.zeros_like(pet), pet], 1))
    for got, want in zip(alone(pet), expected, strict=True):
        assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_its_settings_are_plain_json(name: str) -> None:
    json.dumps(spec_of(name))
    with pytest.raises(SettingsError, match=f"'{re.escape(name)}' has no 'nonsense'"):
        build(ENCODERS, {"name": name, "nonsense": 1}, in_channels=2)


def test_sides_that_do_not_fit_are_answered_with_those_that_do(name: str) -> None:
    encoder = make(name)
    last = encoder.strides[-1]
    wrong = tuple(3 * s + 1 for s in last)
    right = tuple(-(-w // s) * s for w, s in zip(wrong, last, strict=True))
    with pytest.raises(SettingsError, match="patch sides must be divisible") as caught:
        encoder.check_sides((wrong[0], wrong[1], wrong[2]))
    assert str(right) in str(caught.value)
    encoder.check_sides((right[0], right[1], right[2]))


def test_it_computes_on_a_pretended_gpu(name: str) -> None:
    encoder, image = make(name), torch.randn(1, 2, *SIDES)
    with pretended_gpu() as move, host_reads() as found:
        maps = move(encoder)(move(image))
    assert not found
    assert all(x.device.type == "cuda" for x in maps)
