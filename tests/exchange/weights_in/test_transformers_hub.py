"""Folders that transformers saved become encoders with the same tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    VideoMAEConfig,
    VideoMAEModel,
)

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in.importing import import_weights


def dino() -> Dinov2Config:
    return Dinov2Config(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )


@pytest.mark.parametrize("head", [False, True])
def test_a_dinov2_gives_its_tokens_slice_by_slice(
    tmp_path: Path, equals, rebuilt, head: bool
) -> None:
    network = (Dinov2ForImageClassification if head else Dinov2Model)(dino()).eval()
    network.save_pretrained(tmp_path / "hub")
    folder, report = import_weights(
        "auto", tmp_path / "hub", tmp_path / "e", modalities=["ct", "pet"]
    )
    encoder, gray = rebuilt(folder), torch.randn(3, 1, 56, 70)
    body = network.dinov2 if head else network
    with torch.no_grad():
        wanted = body(gray.repeat(1, 3, 1, 1)).last_hidden_state[:, 1:]
        found = encoder.vit(gray.repeat(1, 2, 1, 1)).feature_maps[-1]
    equals(found.flatten(2).transpose(1, 2), wanted)
    assert report.covered == 1
    assert not report.missing
    unused = {"dinov2.embeddings.mask_token", "classifier.weight", "classifier.bias"}
    assert set(report.unexpected) == (unused if head else {"embeddings.mask_token"})
    assert "3 colours summed" in report.adapted["vit.embeddings.patch_embeddings.projection.weight"]
    assert read_config(folder).architecture["side"] == 56


def test_a_videomae_gives_its_tokens(tmp_path: Path, equals, rebuilt) -> None:
    config = VideoMAEConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=96,
        image_size=32, patch_size=8, num_frames=8, tubelet_size=2, use_mean_pooling=False,
    )  # fmt: skip
    network = VideoMAEModel(config).eval()
    network.save_pretrained(tmp_path / "hub")
    folder, report = import_weights("auto", tmp_path / "hub", tmp_path / "e", modalities=["ct"])
    gray = torch.randn(1, 1, 8, 32, 32)
    with torch.no_grad():
        # transformers wants [B, frames, colours, H, W].
        wanted = network(gray.transpose(1, 2).repeat(1, 1, 3, 1, 1)).last_hidden_state
        found = rebuilt(folder)(gray)[-1]
    equals(found.flatten(2).transpose(1, 2), wanted)
    assert report.covered == 1
    assert read_config(folder).patch == (8, 32, 32)


@pytest.mark.parametrize("kind", ["convnext", "swin", "dinov3", "hiera"])
def test_other_backbones_give_their_maps_slice_by_slice(
    tmp_path: Path, equals, rebuilt, kind: str
) -> None:
    import transformers

    settings: dict[str, dict[str, object]] = {
        "convnext": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
        "swin": {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4]},
        "dinov3": {
            "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
            "intermediate_size": 96, "num_register_tokens": 4,
        },
        "hiera": {"embed_dim": 4, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]},
    }  # fmt: skip
    names = {"convnext": "ConvNext", "swin": "Swin", "dinov3": "DINOv3ViT", "hiera": "Hiera"}
    config = getattr(transformers, names[kind] + "Config")(**settings[kind])
    network = getattr(transformers, names[kind] + "Model")(config).eval()
    network.save_pretrained(tmp_path / "hub")
    folder, report = import_weights(
        "auto", tmp_path / "hub", tmp_path / "e", modalities=["ct", "pet"]
    )
    encoder, gray = rebuilt(folder), torch.randn(1, 1, 224, 224)
    with torch.no_grad():
        wanted = network(gray.repeat(1, 3, 1, 1), output_hidden_states=True)
        found = encoder.flat(gray.repeat(1, 2, 1, 1))[-1]
    if kind == "dinov3":
        theirs = wanted.last_hidden_state[:, 5:].transpose(1, 2).reshape(found.shape)
    elif kind == "convnext":
        norm = encoder.flat.net.hidden_states_norms["stage4"]
        theirs = norm(wanted.last_hidden_state)
    else:
        last = wanted.reshaped_hidden_states[-1]
        last = last if kind == "hiera" else last.permute(0, 2, 3, 1)
        norm = encoder.flat.net.hidden_states_norms["stage4"]
        theirs = norm(last).permute(0, 3, 1, 2)
    equals(found, theirs.detach())
    assert report.covered == 1
    assert any("colours" in how for how in report.adapted.values())
    assert "weights" not in read_config(folder).architecture


def test_a_model_that_we_have_no_encoder_for_is_refused_by_name(tmp_path: Path) -> None:
    config = BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9
    )
    BertModel(config).save_pretrained(tmp_path / "hub")
    with pytest.raises(CheckpointError, match=r"one of dinov2, videomae, .*bert"):
        import_weights("auto", tmp_path / "hub", tmp_path / "e", modalities=["ct"])
