"""What the listing says of each family and size is what is built, and it needs no torch."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch

from hilum.cli.inventory import tables
from hilum.core.errors import SettingsError
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.presets import Preset, families

FAMILIES = families()
PRESETS = [(name, size) for name, family in FAMILIES.items() for size in family.sizes]


@pytest.mark.parametrize(("name", "size"), PRESETS)
def test_parameters_and_strides_are_those_of_the_network(name: str, size: str) -> None:
    # MONAI's Swin computes with numbers while it is built, which needs a real device.
    with torch.device("cpu" if name == "swin" else "meta"):
        encoder = build(ENCODERS, {"name": name, "size": size}, in_channels=2)
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert FAMILIES[name].sizes[size] == Preset(count, encoder.strides)


def test_every_family_and_size_is_listed_with_its_purpose() -> None:
    assert list(FAMILIES) == list(ENCODERS)
    for name, family in FAMILIES.items():
        assert list(family.sizes) == list(importlib.import_module(f"hilum.encoders.{name}").SIZES)
        assert {"tiny", "small", "base"} <= set(family.sizes)
        assert family.purpose == (ENCODERS[name].__doc__ or "").splitlines()[0]


def test_the_rule_of_a_patch_is_short() -> None:
    assert FAMILIES["videomae"].sizes["tiny"].rule == "sides divisible by 4 x 8 x 8"
    assert FAMILIES["videomae"].sizes["tiny"].steps == "1 1x2x2 2x4x4 4x8x8"
    assert FAMILIES["swin"].sizes["base"].rule == "sides divisible by 32"


def test_the_listing_does_not_import_torch() -> None:
    code = (
        "import sys; from hilum.cli.inventory import tables; print(*tables('encoders'), sep='\\n');"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for name, family in FAMILIES.items():
        assert family.purpose in done.stdout
        assert name in done.stdout
    assert "147.4 M parameters  strides 1 2 4 8  sides divisible by 8" in done.stdout


def test_only_what_is_built_has_a_cost() -> None:
    with pytest.raises(SettingsError, match="only encoders and fusion have a cost"):
        tables("metrics", cost=True)
