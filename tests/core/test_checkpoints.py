"""An encoder folder loads by modality name, and never in part without saying so."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from hilum.core.checkpoints import EncoderConfig, load_weights, read_config, save_encoder, state_of
from hilum.core.errors import CheckpointError
from hilum.core.weights import read_weights

CONFIG = EncoderConfig(
    architecture={"name": "toy"}, modalities=("ct", "pet"), spacing=(3, 2, 1), patch=(8, 8, 8)
)


class Toy(nn.Module):
    """Two convolutions; the second goes by two names, as in some libraries."""

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv3d(channels, width, 3, padding=1)
        self.second = nn.Conv3d(width, width, 1)
        self.alias = self.second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def load(module: nn.Module, weights: dict[str, torch.Tensor], target: tuple[str, ...], **more):
    return load_weights(
        module, weights, source=("ct", "pet"), target=target, stem=("first.weight",), **more
    )


def test_a_saved_encoder_gives_the_same_output(tmp_path: Path) -> None:
    toy, again = Toy(2), Toy(2)
    folder = save_encoder(tmp_path / "encoder", toy, CONFIG)
    report = load(again, read_weights(folder), ("ct", "pet"))
    x = torch.randn(1, 2, 3, 4, 5)
    assert_close(again(x), toy(x), rtol=0, atol=0)
    assert report.covered == 1
    assert not report.missing
    assert not report.unexpected
    saved = read_config(folder)
    content = (folder / "model.safetensors").read_bytes()
    assert saved.checksums == {"model.safetensors": hashlib.sha256(content).hexdigest()}
    assert saved == CONFIG.model_copy(update={"checksums": saved.checksums})
    assert "ct, pet" in (folder / "README.md").read_text()


def test_a_tensor_with_two_names_is_stored_once() -> None:
    assert sorted(state_of(Toy(2))) == [
        "first.bias",
        "first.weight",
        "second.bias",
        "second.weight",
    ]


def test_one_modality_gets_its_slice_of_the_stem() -> None:
    """The sliced network equals the pretrained one with the other channel at zero."""
    toy, pet = Toy(2), Toy(1)
    report = load(pet, state_of(toy), ("pet",))
    x = torch.randn(1, 1, 3, 4, 5)
    assert_close(pet(x), toy(torch.cat([torch.zeros_like(x), x], 1)))
    assert report.adapted == {"first.weight": "pet from pet"}


def test_an_unknown_modality_gets_the_mean() -> None:
    toy, mr = Toy(2), Toy(1)
    load(mr, state_of(toy), ("mr",))
    assert_close(mr.first.weight[:, 0], toy.first.weight.mean(1))


def test_too_little_coverage_is_refused_and_changes_nothing() -> None:
    wide = Toy(2, width=8)
    before = {k: v.clone() for k, v in wide.state_dict().items()}
    with pytest.raises(CheckpointError, match="cover 90% of the network") as caught:
        load(wide, state_of(Toy(2)), ("ct", "pet"))
    assert "shape [8, 2, 3, 3, 3], in the file [4, 2, 3, 3, 3]" in str(caught.value)
    for name, tensor in wide.state_dict().items():
        assert_close(tensor, before[name], rtol=0, atol=0)


def test_missing_and_unexpected_tensors_are_listed() -> None:
    weights = state_of(Toy(2))
    weights["other"] = weights.pop("second.bias")
    report = load(Toy(2), weights, ("ct", "pet"), threshold=0.5)
    assert report.missing == {"second.bias": "not in the file"}
    assert report.unexpected == ["other"]
    total = sum(p.numel() for p in Toy(2).parameters())
    assert report.covered == pytest.approx(1 - 4 / total)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", None, "no such"),
        ("model.safetensors", b"\x00" * 20, "must be a whole safetensors file"),
        ("model.pth", b"pickle", "must be a .safetensors file"),
    ],
)
def test_bad_files_are_named(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name}.*{message}"):
        read_weights(tmp_path / name)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "encoder", Toy(2), CONFIG)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="must be a whole safetensors file"):
        read_weights(folder)


def test_a_folder_without_config_is_no_encoder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"must hold config\.json"):
        read_config(tmp_path)
