"""The commands on weights of other tools: what they print, and how they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hilum.cli.contents import describe_any
from hilum.core.checkpoints import EncoderConfig, read_config, state_of
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.encoders import ENCODERS
from hilum.encoders.networks import (
    NetworkConfig,
    build_network,
    reconstructions_of,
    save_network,
)

from ..command import hilum, script

SPEC = {"name": "resenc", "features": [4, 8], "blocks": [1, 2]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    state = state_of(build(ENCODERS, SPEC, in_channels=1))
    weights = {name.replace("inner.", "encoder."): value for name, value in state.items()}
    torch.save({"network_weights": weights}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


@pytest.mark.slow
def test_a_file_is_inspected_imported_and_inspected_again(tmp_path: Path, file: Path) -> None:
    seen = hilum("inspect", file)
    assert seen.returncode == 0, seen.stderr
    assert "source: nnunet" in seen.stdout
    made = hilum(
        "import-weights", "auto", file, "--out", tmp_path / "enc", "--modalities", "ct,pet",
        "--spacing", "3,2,2", "--channels", "first",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "100.0% of the parameters covered" in made.stdout
    assert "ct from the file, zeros for pet" in made.stdout
    assert read_config(tmp_path / "enc").spacing == (3, 2, 2)
    again = hilum("inspect", tmp_path / "enc")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("encoder: ")


@pytest.mark.slow
def test_a_whole_network_is_reported_part_by_part(tmp_path: Path) -> None:
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    network = PlainConvUNet(
        1, 2, [4, 8], nn.Conv3d, 3, [1, 2], 1, 2, 1, conv_bias=True, norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
    )  # fmt: skip
    torch.save({"network_weights": network.state_dict()}, tmp_path / "w.pth")
    made = hilum(
        "import-weights", "auto", tmp_path / "w.pth", "--out", tmp_path / "net",
        "--modalities", "ct", "--whole",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    heads = [line for line in made.stdout.splitlines() if "of the parameters covered" in line]
    assert [line.split(":")[0] for line in heads] == ["encoder", "decoder"]
    for line in heads:
        assert "100.0%" in line
        assert ", 0 unexpected" in line


def test_a_network_folder_says_what_its_outputs_mean(tmp_path: Path) -> None:
    about = {"architecture": SPEC, "modalities": ("ct", "pet"), "spacing": (4, 4, 4)}
    config = NetworkConfig(
        format=1,
        kind="network",
        encoder=validate(EncoderConfig, about | {"patch": (8, 8, 8)}),
        decoder={"name": "pyramid"},
        outputs=reconstructions_of(("ct", "pet")),
    )
    network = build_network(config)
    folder = save_network(tmp_path / "network", network.encoder, network.decoder, config)
    lines = list(describe_any(folder))
    assert lines[0].startswith("network: ")
    assert lines[1] == "outputs: reconstruction ct, reconstruction pet"
    assert any(line.startswith("modalities: ") for line in lines)
    assert any(line.startswith("decoder: ") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--modalities", "ct", "--spacing", "1,2"], "spacing must be three numbers above 0"),
        (["--modalities", "ct", "--channels", "frist"], "did you mean 'first'"),
        (["--modalities", "ct", "--sha256", "00"], "must have the given sha256"),
        (["--modalities", "ct", "features=[6,12]"], "give another size"),
        (["--modalities", "ct", "nonsense"], "architecture must be key=value"),
        (["--modalities", "ct", "--rename", "x"], "rename must be PATTERN=REPLACEMENT"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, file: Path, words: list[str], message: str
) -> None:
    # The words of a choice are typed: the checks of the tests would refuse a wrong one first.
    run = script if "--channels" in words else hilum
    ran = run("import-weights", "auto", file, "--out", tmp_path / "e", *words)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "e").exists()
