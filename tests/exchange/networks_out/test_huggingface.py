"""HuggingFace's layout: what is saved loads by folder and by name, offline, checked, pushable."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError
from hilum.core.settings import validate
from hilum.encoders.resenc import ResencEncoder
from hilum.exchange.networks_out.huggingface import (
    FILES,
    from_pretrained,
    push_to_hub,
    save_pretrained,
)
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

SMALL: dict[str, Any] = {"features": [4, 8], "blocks": [1, 1]}
NAME = "someone/nodes"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def encoder(tmp_path: Path) -> tuple[ResencEncoder, Path]:
    made = ResencEncoder(in_channels=2, **SMALL).eval()
    values = {
        "architecture": {"name": "resenc", **SMALL},
        "modalities": ("ct", "pet"),
        "spacing": (3.0, 2.0, 2.0),
        "patch": (4, 6, 8),
        "licence": "CC-BY-4.0",
    }
    folder = save_encoder(tmp_path / "encoder", made, validate(EncoderConfig, values))
    return made, save_pretrained(folder, tmp_path / "hf")


def same(one: Any, other: Any) -> bool:
    image = torch.rand(1, 2, 4, 6, 8)
    with torch.no_grad():
        return all(torch.equal(a, b) for a, b in zip(one(image), other(image), strict=True))


def test_an_encoder_comes_back_from_its_folder(encoder: tuple[ResencEncoder, Path]) -> None:
    again = from_pretrained(encoder[1])
    assert same(again, encoder[0])
    assert not again.training


def test_a_segmenter_comes_back_from_its_folder(tmp_path: Path) -> None:
    values = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", **SMALL},
        "fusion": {"name": "late"},
        "patch": (4, 6, 8),
        "spacing": (4.0, 4.0, 4.0),
    }
    made = Segmenter(validate(SegmenterConfig, values)).eval()
    again = from_pretrained(save_pretrained(made.save(tmp_path / "s"), tmp_path / "hf"))
    assert isinstance(again, Segmenter)
    image, available = torch.rand(1, 2, 4, 6, 8), torch.ones(1, 2, dtype=torch.bool)
    assert torch.equal(again(image, available)[0], made(image, available)[0])


def test_a_name_is_found_where_a_user_put_it(
    encoder: tuple[ResencEncoder, Path], cache: Path
) -> None:
    shutil.copytree(encoder[1], cache / "someone--nodes")
    assert same(from_pretrained(NAME), encoder[0])


def test_a_name_is_found_in_the_hubs_own_cache(
    encoder: tuple[ResencEncoder, Path], cache: Path
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = cache / "models--someone--nodes"
    shutil.copytree(encoder[1], place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    assert same(from_pretrained(NAME), encoder[0])
    assert same(from_pretrained(NAME, revision=commit), encoder[0])


def test_without_the_network_the_error_says_where_to_put_the_files(cache: Path) -> None:
    with pytest.raises(CheckpointError, match="no network was asked for") as caught:
        from_pretrained(NAME)
    assert str(cache / "someone--nodes") in str(caught.value)
    assert "model.safetensors" in str(caught.value)


@pytest.mark.parametrize("name", ["nowhere", "./nowhere", "a/b/c", "some one/nodes"])
def test_what_is_neither_folder_nor_name_is_said(name: str, cache: Path) -> None:
    with pytest.raises(CheckpointError):
        from_pretrained(name)


def test_changed_bytes_are_refused(encoder: tuple[ResencEncoder, Path]) -> None:
    file = encoder[1] / "model.safetensors"
    with pytest.raises(CheckpointError, match=r"SHA-256 of model.safetensors must be 00"):
        from_pretrained(encoder[1], sha256="0" * 64)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"the SHA-256 of model.safetensors"):
        from_pretrained(encoder[1])
    with pytest.raises(CheckpointError, match=r"the SHA-256 of model.safetensors"):
        push_to_hub(encoder[1], NAME)


def test_the_card_is_one_that_the_hub_reads(encoder: tuple[ResencEncoder, Path]) -> None:
    from huggingface_hub import ModelCard

    card = ModelCard.load(encoder[1] / "README.md")
    assert card.data.library_name == "hilum"
    assert card.data.tags == ["medical", "3d", "encoder", "ct", "pet"]
    assert card.data.license_name == "CC-BY-4.0"
    assert "| Modalities, in channel order | ct, pet |" in card.text


def test_a_push_uploads_the_folder(encoder: tuple[ResencEncoder, Path]) -> None:
    """The hub's own object prepares the upload; only its last step, the network, is left out."""
    from huggingface_hub import HfApi

    taken: dict[str, Any] = {}

    class Offline(HfApi):
        def create_repo(self, repo_id: str, **values: Any) -> str:  # pyright: ignore
            taken.update(values, created=repo_id)
            return f"https://huggingface.co/{repo_id}"

        def _validate_yaml(self, content: str, **values: Any) -> None:
            taken["card"] = content

        def _prepare_upload_folder_additions(self, *given: Any, **named: Any) -> Any:  # pyright: ignore
            found = super()._prepare_upload_folder_additions(*given, **named)
            taken["operations"] = {op.path_in_repo: op for op in found}
            raise StopIteration

    (encoder[1] / "notes.txt").write_text("mine")
    with pytest.raises(StopIteration):
        push_to_hub(encoder[1], NAME, api=Offline(token=False))
    assert taken["created"] == NAME
    assert taken["private"] is True
    assert taken["card"].startswith("---\nlibrary_name: hilum")
    uploads = taken["operations"]
    assert set(uploads) == {*FILES, "SHA256SUMS", "export.json"}
    weights = (encoder[1] / "model.safetensors").read_bytes()
    assert uploads["model.safetensors"].upload_info.size == len(weights)


def test_only_a_folder_in_the_layout_is_pushed(
    encoder: tuple[ResencEncoder, Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="must be in HuggingFace's layout"):
        push_to_hub(tmp_path / "encoder", NAME)
    with pytest.raises(CheckpointError, match="owner/name"):
        push_to_hub(encoder[1], "nodes")
