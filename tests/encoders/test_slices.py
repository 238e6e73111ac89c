"""A new slice-wise encoder is its 2D network on every slice, whichever library that is from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file
from torch.testing import assert_close

from hilum.core.errors import CheckpointError, SettingsError
from hilum.encoders.backbone2d_transformers import NETWORKS
from hilum.encoders.slices import SlicesEncoder

STAGES = {"hidden_sizes": [4, 6, 8, 10], "depths": [1, 1, 1, 1]}
WINDOWS = {"embed_dim": 4, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1]}
TOKENS = {"embed_dim": 24, "depth": 3, "num_heads": 2}
SMALL: dict[str, dict[str, Any]] = {
    "dinov2": {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2},
    "dinov3": {
        "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 24,
    },
    "dinov3_convnext": STAGES,
    "convnext": STAGES,
    "convnextv2": STAGES,
    "swin": WINDOWS,
    "hiera": WINDOWS,
    "timm/convnext_atto": {"depths": (1, 1, 1, 1), "dims": (4, 6, 8, 10), "conv_mlp": False},
    "timm/swin_tiny_patch4_window7_224": {**WINDOWS, "window_size": 4},
    "timm/hiera_tiny_224": {"embed_dim": 4, "stages": (1, 1, 1, 1), "num_heads": 1},
    "timm/vit_tiny_patch16_224": TOKENS,
    "timm/vit_small_patch14_dinov2": TOKENS,
    "timm/vit_small_patch16_dinov3": TOKENS,
    "timm/resnet10t": {},
}  # fmt: skip
every = pytest.mark.parametrize("model", SMALL)


def make(model: str, **more: Any) -> SlicesEncoder:
    torch.manual_seed(0)
    parameters: dict[str, Any] = {"in_channels": 2, "side": 64, **more}
    return SlicesEncoder(model=model, settings=SMALL[model], **parameters)


@every
def test_a_new_encoder_is_the_2d_network_on_each_slice(model: str) -> None:
    """Adapters included: all that is new starts at zero."""
    encoder = make(model, pool_depth=False, adapter_rank=0 if "resnet" in model else 2).eval()
    bare = make(model).eval()
    bare.flat.load_state_dict(encoder.flat.state_dict(), strict=False)
    bare.levels.load_state_dict(encoder.levels.state_dict())
    side = 56 if encoder.flat.strides[0] == 14 else 64
    image = torch.randn(1, 2, 3, 64, 64)
    one = image[:, :, 1]
    if side != 64:
        one = torch.nn.functional.interpolate(one, (side, side), mode="bilinear")
    with torch.no_grad():
        found, plain = encoder(image)[1:], bare.flat(one)
    for level, volume, plane in zip(bare.levels, found, plain, strict=True):
        expected = level(plane)
        if expected.shape[2:] != volume.shape[3:]:
            expected = torch.nn.functional.interpolate(expected, volume.shape[3:], mode="bilinear")
        assert_close(volume[:, :, 1], expected, atol=1e-5, rtol=1e-4)


def test_pooled_depth_is_the_mean_of_slices() -> None:
    pooled, whole = make("convnext").eval(), make("convnext", pool_depth=False).eval()
    image = torch.randn(1, 2, 32, 32, 64)
    for got, want in zip(pooled(image)[1:], whole(image)[1:], strict=True):
        means = want.unflatten(2, (got.shape[2], -1)).mean(3)
        assert_close(got, means, atol=1e-5, rtol=1e-5)


@every
def test_every_parameter_learns(model: str) -> None:
    encoder = make(model, adapter_rank=0 if "resnet" in model else 2)
    for key, parameter in encoder.named_parameters():
        if key.endswith("weight") or "adapter" in key:
            parameter.data += 0.05 * torch.randn_like(parameter)
    maps = encoder(torch.randn(2, 2, 32, 32, 64))
    sum((x * torch.randn_like(x)).sum() for x in maps).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert [k for k, p in encoder.named_parameters() if p.grad is None] == []


@every
def test_recomputed_activations_give_the_same_gradients(model: str) -> None:
    image = torch.randn(2, 2, 32, 32, 64)
    gradients = []
    for again in (False, True):
        encoder = make(model, checkpoint_activations=again)
        sum(x.square().mean() for x in encoder(image)).backward()  # pyright: ignore[reportAttributeAccessIssue]
        gradients.append({k: p.grad for k, p in encoder.named_parameters()})
    assert_close(gradients[1], gradients[0], rtol=1e-5, atol=1e-7)


def test_a_frozen_network_learns_its_adapters_only() -> None:
    encoder = make("dinov2", frozen=True, adapter_rank=2)
    learning = {k for k, p in encoder.flat.named_parameters() if p.requires_grad}
    assert learning
    assert all("adapter_" in key for key in learning)
    assert all(p.requires_grad for k, p in encoder.named_parameters() if not k.startswith("flat"))


def test_batch_norms_of_a_frozen_network_stay_as_they_are() -> None:
    encoder = make("timm/resnet10t", frozen=True).train()
    before = {k: v.clone() for k, v in encoder.flat.state_dict().items()}
    image = torch.randn(1, 2, 32, 32, 32)
    sum(x.sum() for x in encoder(image)).backward()  # pyright: ignore[reportAttributeAccessIssue]
    assert_close(dict(encoder.flat.state_dict()), before, rtol=0, atol=0)
    assert all(p.grad is None for p in encoder.flat.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_transformers_wrote_give_its_features(name: str, tmp_path: Path) -> None:
    encoder = make(name, in_channels=3, fine=0, pool_depth=False)
    cls, kind, _ = NETWORKS[name]
    config = encoder.flat.net.config
    source = getattr(transformers, cls)(getattr(transformers, kind).from_dict(config.to_dict()))  # pyright: ignore
    for parameter in source.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    source.save_pretrained(tmp_path)
    loaded = make(name, in_channels=3, fine=0, weights=str(tmp_path)).eval()
    image = torch.randn(1, 3, 64, 64) if name != "dinov2" else torch.randn(1, 3, 56, 56)
    with torch.no_grad():
        theirs = features(source.eval(), image)
        for got, want in zip(loaded.flat(image), theirs, strict=True):
            assert_close(got, want, atol=1e-5, rtol=1e-5)


def features(source: Any, image: torch.Tensor) -> list[torch.Tensor]:
    """Return a backbone's maps; Hiera's from the model, since its backbone mixes up the tokens."""
    if not isinstance(source, transformers.HieraBackbone):
        return source(image).feature_maps
    model = transformers.HieraModel(source.config)
    model.load_state_dict(source.state_dict(), strict=False)
    maps = model.eval()(image, output_hidden_states=True).reshaped_hidden_states[1:]
    norms = source.hidden_states_norms.values()
    return [norm(x).permute(0, 3, 1, 2) for norm, x in zip(norms, maps, strict=True)]


def test_weights_of_a_whole_model_load_and_colours_are_shared_out(tmp_path: Path) -> None:
    """As published: a classifier's file, whose names begin with `convnext.`."""
    config = transformers.ConvNextConfig(**STAGES)  # pyright: ignore[reportArgumentType]
    torch.manual_seed(0)
    source = transformers.ConvNextForImageClassification(config).eval()
    source.save_pretrained(tmp_path)
    encoder = make("convnext", weights=str(tmp_path)).eval()
    gray = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        hidden = source(gray.expand(-1, 3, -1, -1), output_hidden_states=True).hidden_states
        found = encoder.flat(gray.expand(-1, 2, -1, -1))
    norms = encoder.flat.net.get_submodule("hidden_states_norms")
    for stage, (got, want) in enumerate(zip(found, hidden[1:], strict=True), 1):
        assert_close(got, norms.get_submodule(f"stage{stage}")(want), atol=1e-5, rtol=1e-5)  # pyright: ignore


def test_weights_of_timm_load(tmp_path: Path) -> None:
    torch.manual_seed(1)
    name = "vit_tiny_patch16_224"
    source = timm.create_model(name, img_size=64, **TOKENS).eval()  # pyright: ignore[reportArgumentType]
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    encoder = make(f"timm/{name}", in_channels=3, weights=str(tmp_path / "w.safetensors")).eval()
    image = torch.randn(1, 3, 64, 64)
    expected = source.forward_features(image)[:, 1:].transpose(1, 2)  # pyright: ignore[reportCallIssue]
    assert_close(encoder.flat(image)[-1].flatten(2), expected, atol=1e-5, rtol=1e-5)


def test_weights_for_another_side_or_size_are_refused(tmp_path: Path) -> None:
    source = timm.create_model("vit_tiny_patch16_224", img_size=96, **TOKENS)  # pyright: ignore[reportArgumentType]
    file = tmp_path / "w.safetensors"
    save_file(source.state_dict(), file)
    with pytest.raises(CheckpointError, match="set side to the images'"):
        make("timm/vit_tiny_patch16_224", weights=str(file))
    with pytest.raises(CheckpointError, match="set size, side and settings"):
        make("convnext", weights=str(file))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"model": "dino2"}, "unknown network 'dino2', did you mean 'dinov2'"),
        ({"model": "timm/convnext_atta"}, "did you mean 'convnext_atto'"),
        ({"model": "timm/efficientnet_b0"}, "whose name begins with convnext, hiera"),
        ({"model": "timm/resnet10t", "adapter_rank": 2}, "only a network with linear layers"),
        ({"features": [4, 8]}, "those of the 3 levels"),
        ({"size": "bas"}, "did you mean 'base'"),
    ],
)
def test_bad_parameters_are_refused(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SlicesEncoder(in_channels=1, **bad)
