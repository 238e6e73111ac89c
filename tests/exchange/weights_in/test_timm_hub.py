"""timm's 2D networks, saved by timm itself, become 3D encoders with the same features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in.importing import import_weights


def resnet() -> torch.nn.Module:
    network = timm.create_model("resnet10t", pretrained=False, num_classes=3).eval()
    for name, value in network.named_buffers():
        if name.endswith("running_mean"):
            value.uniform_(-0.1, 0.1)
    return network


@pytest.mark.parametrize("channels", ["repeat", "first", "per_modality"])
def test_a_folder_of_a_cnn_gives_its_features_on_volumes_of_equal_slices(
    tmp_path: Path, equals, rebuilt, channels
) -> None:
    """A gray slice in all three colours is what the summed stem sees."""
    network = resnet()
    save_for_hf(network, str(tmp_path / "hub"), model_config={"num_classes": 3})
    folder, report = import_weights(
        "auto", tmp_path / "hub", tmp_path / "e", modalities=["ct", "pet"], channels=channels
    )
    flat = timm.create_model("resnet10t", pretrained=False, features_only=True).eval()
    flat.load_state_dict(network.state_dict(), strict=False)
    gray = torch.randn(1, 1, 64, 96)
    volume = gray.unsqueeze(2).repeat(1, 1, 32, 1, 1)
    other = volume if channels == "repeat" else torch.zeros_like(volume)
    with torch.no_grad():
        wanted = flat(gray.repeat(1, 3, 1, 1))
        found = rebuilt(folder)(torch.cat([volume, other], 1))
    for ours, theirs in zip(found, wanted, strict=True):
        # Sums of hundreds of products differ in their last bits with the order.
        equals(ours[:, :, 0], theirs)
    config = read_config(folder)
    assert config.architecture["model"] == "resnet10t"
    assert report.covered == 1
    assert set(report.unexpected) == {"fc.weight", "fc.bias"}
    assert "3 colours summed" in next(iter(report.adapted.values()))
    assert "weights" not in config.architecture


def test_a_bare_file_needs_the_models_name(tmp_path: Path) -> None:
    torch.save(resnet().state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"name must be known.*model=resnet18"):
        import_weights("auto", tmp_path / "resnet.pth", tmp_path / "e", modalities=["ct"])
    folder, _ = import_weights(
        "auto", tmp_path / "resnet.pth", tmp_path / "e", modalities=["ct"],
        architecture={"model": "resnet10t"},
    )  # fmt: skip
    assert read_config(folder).architecture == {"name": "timm_cnn", "model": "resnet10t"}


def test_another_model_than_the_file_is_an_error(tmp_path: Path) -> None:
    torch.save(resnet().state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match=r"resnet.pth.*timm's resnet18"):
        import_weights("auto", tmp_path / "resnet.pth", tmp_path / "e", modalities=["ct"],
                       architecture={"model": "resnet18"})  # fmt: skip


def test_a_vit_gives_its_tokens_when_one_layer_of_them_fills_the_depth(
    tmp_path: Path, equals, rebuilt
) -> None:
    network = timm.create_model(
        "vit_tiny_patch16_224", pretrained=False, img_size=32, patch_size=8, depth=2,
        num_classes=0, class_token=False, global_pool="avg", fc_norm=False,
    ).eval()  # fmt: skip
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    folder, report = import_weights(
        "auto", tmp_path / "vit.pth", tmp_path / "e", modalities=["ct"],
        architecture={"trained": [8, 32, 32]},
    )  # fmt: skip
    gray = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        wanted = network.forward_features(gray.repeat(1, 3, 1, 1))
        found = rebuilt(folder)(gray.unsqueeze(2).repeat(1, 1, 8, 1, 1))[-1]
    equals(found.flatten(2).transpose(1, 2), wanted)
    assert report.covered == 1
    assert all(name.startswith("pyramid.") for name in report.fresh)


def test_the_heads_of_a_vit_are_those_of_the_model_that_its_config_names(
    tmp_path: Path, equals, rebuilt
) -> None:
    """This one has 16 heads of 48 channels, as ViT-H has 16 of 80: no tensor tells."""
    model = "vit_base_patch16_gap_224"
    network: Any = timm.create_model(
        model, pretrained=False, img_size=32, patch_size=8, depth=1, num_classes=0
    ).eval()
    assert network.blocks[0].attn.num_heads == 16
    save_for_hf(network, str(tmp_path / "hub"), model_config={"num_classes": 0})
    folder, _ = import_weights(
        "auto", tmp_path / "hub", tmp_path / "e", modalities=["ct"],
        architecture={"trained": [8, 32, 32]},
    )  # fmt: skip
    assert read_config(folder).architecture["heads"] == 16
    gray = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        wanted = network.forward_features(gray.repeat(1, 3, 1, 1))
        found = rebuilt(folder)(gray.unsqueeze(2).repeat(1, 1, 8, 1, 1))[-1]
    equals(found.flatten(2).transpose(1, 2), wanted)


def test_the_heads_of_an_unnamed_vit_of_an_odd_width_must_be_told(tmp_path: Path) -> None:
    tensors = {
        "patch_embed.proj.weight": torch.zeros(1280, 3, 2, 2),
        "patch_embed.proj.bias": torch.zeros(1280),
        "pos_embed": torch.zeros(1, 4, 1280),
        "blocks.0.attn.qkv.weight": torch.zeros(3 * 1280, 1280),
        "blocks.0.attn.qkv.bias": torch.zeros(3 * 1280),
    }
    torch.save(tensors, tmp_path / "vit.pth")
    with pytest.raises(CheckpointError, match=r"heads of the ViT.*width 1280.*give heads=16"):
        import_weights("auto", tmp_path / "vit.pth", tmp_path / "e", modalities=["ct"])


@pytest.mark.parametrize("model", [{}, {"model": "resnet10t"}, {"model": "timm/resnet10t"}])
def test_a_cnn_runs_slice_by_slice_where_that_is_asked_for(
    tmp_path: Path, equals, rebuilt, model: dict[str, str]
) -> None:
    network = resnet()
    save_for_hf(network, str(tmp_path / "hub"), model_config={"num_classes": 3})
    folder, report = import_weights(
        "auto", tmp_path / "hub", tmp_path / "e", modalities=["ct", "pet"],
        architecture={"name": "slices", **model},
    )  # fmt: skip
    gray = torch.randn(2, 1, 64, 96)
    encoder = rebuilt(folder)
    with torch.no_grad():
        wanted = network.forward_intermediates(
            gray.repeat(1, 3, 1, 1), indices=4, intermediates_only=True, norm=False
        )
        found = encoder.flat(gray.repeat(1, 2, 1, 1))
    for ours, theirs in zip(found, wanted, strict=True):
        equals(ours, theirs)
    assert read_config(folder).architecture["model"] == "timm/resnet10t"
    assert report.covered == 1


TOKENS = {"embed_dim": 24, "depth": 3, "num_heads": 2}
STAGES = {"embed_dim": 4, "stages": [1, 1, 1, 1], "num_heads": 1}


@pytest.mark.parametrize(
    ("model", "settings", "asked"),
    [
        ("vit_small_patch16_dinov3", TOKENS, {}),
        ("hiera_tiny_224", STAGES, {}),
        ("vit_small_patch14_dinov2", TOKENS, {"name": "slices"}),
    ],
)
def test_transformers_run_slice_by_slice_with_the_side_of_their_positions(
    tmp_path: Path, equals, rebuilt, model: str, settings: dict, asked: dict
) -> None:
    """DINOv3 turns its tokens and Hiera pools them: there is no 3D form, so slices are the way."""
    side = 56 if "14" in model else 64
    network = timm.create_model(model, pretrained=False, img_size=side, **settings).eval()
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    save_for_hf(network, str(tmp_path / "hub"), model_config={"num_classes": 0})
    folder, report = import_weights(
        "auto", tmp_path / "hub", tmp_path / "e", modalities=["ct", "pet"],
        architecture={**asked, "settings": settings},
    )  # fmt: skip
    architecture = read_config(folder).architecture
    assert architecture["name"] == "slices"
    assert architecture["model"] == f"timm/{model}"
    assert architecture.get("side") == (None if "dinov3" in model else side)
    encoder, gray = rebuilt(folder), torch.randn(2, 1, side, side)
    with torch.no_grad():
        wanted = network.forward_intermediates(  # pyright: ignore[reportCallIssue]
            gray.repeat(1, 3, 1, 1), indices=encoder.flat.indices, norm="vit" in model,
            intermediates_only=True, output_fmt="NCHW",
        )  # fmt: skip
        found = encoder.flat(gray.repeat(1, 2, 1, 1))
    for ours, theirs in zip(found, wanted, strict=True):
        equals(ours, theirs)
    assert report.covered == 1
    assert "3 colours summed" in next(iter(report.adapted.values()))
