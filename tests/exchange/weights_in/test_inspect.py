"""`hilum inspect` says what a weights file is before anyone imports it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hilum.core.checkpoints import state_of
from hilum.core.errors import CheckpointError
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.exchange.weights_in.inspect import look

SPEC = {"name": "resenc", "features": [4, 8], "blocks": [1, 2]}


def state(channels: int = 1) -> dict[str, torch.Tensor]:
    found = state_of(build(ENCODERS, SPEC, in_channels=channels))
    return {name.replace("inner.", "encoder."): value for name, value in found.items()}


def test_a_file_is_described_with_its_coverage_and_the_command_that_imports_it(
    tmp_path: Path,
) -> None:
    weights = state() | {f"decoder.{n}.weight": torch.ones(2) for n in range(20)}
    torch.save({"network_weights": weights, "current_epoch": 3}, tmp_path / "w.pth")
    text = "\n".join(look(tmp_path / "w.pth"))
    for part in (
        "container: PyTorch (zip format); sha256 ", "under 'network_weights'", "float32",
        "beside them: current_epoch", "source: nnunet", "features=[4, 8], blocks=[1, 2]",
        "input channels: 1", "100.0% of the parameters covered", "unexpected: decoder (20)",
        "import it: hilum import-weights nnunet", "--modalities ct",
    ):  # fmt: skip
        assert part in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pth"]


@pytest.mark.parametrize("channels", [2, 4])
def test_the_input_channels_are_counted(tmp_path: Path, channels: int) -> None:
    save_file(state(channels), tmp_path / "w.safetensors")
    text = "\n".join(look(tmp_path / "w.safetensors"))
    assert f"input channels: {channels}" in text
    assert "container: safetensors" in text


@pytest.mark.parametrize("names", [("CT", "PET"), ("PET",), ("MRI", "US", "CT")])
def test_channels_that_the_file_names_are_the_ones_to_import(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    channels = {"channel_names": {str(place): name for place, name in enumerate(names)}}
    args = {"plans": {}, "configuration": "", "dataset_json": channels}
    file = {"network_weights": state(len(names)), "init_args": args}
    torch.save(file, tmp_path / "w.pth")
    ours = ["mr" if name == "MRI" else name.lower() for name in names]
    text = "\n".join(look(tmp_path / "w.pth"))
    assert f"input channels: {len(names)} ({', '.join(ours)})" in text
    assert text.endswith(f"--modalities {','.join(ours)}")


def test_an_unknown_file_is_described_as_far_as_it_goes(tmp_path: Path) -> None:
    torch.save({"strange.name": torch.ones(2, dtype=torch.float16)}, tmp_path / "x.pt")
    text = "\n".join(look(tmp_path / "x.pt"))
    assert "source: unknown; use plain" in text
    assert "strange.name" in text
    assert "float16" in text


def test_a_plain_network_of_nnunet_names_the_command_that_imports_it(tmp_path: Path) -> None:
    weights = {
        "encoder.stages.0.0.convs.0.conv.weight": torch.ones(2, 1, 3, 3, 3),
    }
    torch.save({"network_weights": weights}, tmp_path / "p.pth")
    assert "import-weights nnunet" in "\n".join(look(tmp_path / "p.pth"))


def test_what_is_no_weights_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"nonsense" * 20)
    with pytest.raises(CheckpointError, match="must be safetensors or a PyTorch checkpoint"):
        list(look(tmp_path / "x.pt"))
