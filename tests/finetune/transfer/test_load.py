"""An encoder folder fills the encoders of any strategy by modality name, and says what it did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.checkpoints import EncoderConfig, save_encoder, state_of
from hilum.core.errors import CheckpointError
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.finetune.transfer.load import transfer
from hilum.finetune.transfer.settings import TransferSettings
from hilum.fusion import STRATEGIES
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]
ENCODER: dict[str, Any] = {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]}
SEGRESNET: dict[str, Any] = {"name": "segresnet", "filters": 8, "blocks": [1, 1, 1]}
PARAMETERS = {"single": {"modality": "ct"}, "cross_attention": {"heads": 2, "min_stride": 4}}


def settings(**changes: Any) -> TransferSettings:
    return validate(TransferSettings, changes)


def pretrained(folder: Path, spec: dict[str, Any] = ENCODER, **changes: Any) -> Encoder:
    """Write an encoder folder as pretraining on CT and PET does; return the encoder."""
    torch.manual_seed(7)
    modalities = changes.get("modalities", ("ct", "pet"))
    encoder = build(ENCODERS, spec, in_channels=len(modalities))
    values = {
        "architecture": spec,
        "modalities": modalities,
        "spacing": (4, 4, 4),
        "patch": (8, 8, 8),
        "pretext": {"name": "masked_autoencoder"},
    }
    save_encoder(folder, encoder, validate(EncoderConfig, values | changes))
    return encoder.eval()


def image(channels: int) -> torch.Tensor:
    return torch.randn(2, channels, 8, 12, 16, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("spec", [ENCODER, SEGRESNET], ids=lambda spec: spec["name"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_each_encoder_is_the_pretrained_one_with_what_it_does_not_see_at_zero(
    name: str, spec: dict[str, Any], config: Make, tmp_path: Path
) -> None:
    source = pretrained(tmp_path / "encoder", spec)
    fusion = {"name": name, **PARAMETERS.get(name, {})}
    segmenter = Segmenter(config(encoder=spec, fusion=fusion)).eval()
    report = transfer(segmenter, tmp_path / "encoder", settings())
    full = image(2)
    for key, encoder in segmenter.encoders.items():
        seen = [("ct", "pet").index(m) for m in segmenter.inputs[key]]
        masked = torch.zeros_like(full)
        masked[:, seen] = full[:, seen]
        for ours, theirs in zip(encoder(full[:, seen]), source(masked), strict=True):
            assert_close(ours, theirs, rtol=0, atol=1e-5)
        one = report.encoders[key]
        assert one.covered == 1
        assert not one.missing
        assert not one.unexpected
        assert len(one.adapted) == (0 if len(seen) == 2 else 1)


def test_channels_follow_names_not_places(config: Make, tmp_path: Path) -> None:
    source = pretrained(tmp_path / "encoder", modalities=("pet", "ct"))
    segmenter = Segmenter(config()).eval()
    transfer(segmenter, tmp_path / "encoder", settings())
    full = image(2)
    assert_close(segmenter.encoders["all"](full)[-1], source(full.flip(1))[-1])


def test_a_modality_that_was_never_seen_is_noted(config: Make, tmp_path: Path) -> None:
    pretrained(tmp_path / "encoder", modalities=("ct",), spacing=(2, 2, 2))
    report = transfer(Segmenter(config()), tmp_path / "encoder", settings())
    (how,) = report.encoders["all"].adapted.values()
    assert how == "ct from ct, pet from the mean of ct"
    text = "\n".join(report.lines())
    assert "pet was never seen in pretraining (ct)" in text
    assert "pretrained at 2 x 2 x 2 mm, used at 4 x 4 x 4 mm" in text


def test_an_encoder_folder_leaves_the_decoder_new_and_has_none_to_give(
    config: Make, tmp_path: Path
) -> None:
    pretrained(tmp_path / "encoder")
    segmenter = Segmenter(config(classes=3))
    before = state_of(segmenter.decoders["decoder"])
    assert not transfer(segmenter, tmp_path / "encoder", settings()).decoders
    assert_close(state_of(segmenter.decoders["decoder"]), before, rtol=0, atol=0)
    for parts in ("encoder+decoder", "whole"):
        with pytest.raises(CheckpointError, match="must hold a decoder"):
            transfer(segmenter, tmp_path / "encoder", settings(parts=parts))


def test_another_architecture_is_refused_with_what_differs(config: Make, tmp_path: Path) -> None:
    pretrained(tmp_path / "encoder", {**ENCODER, "features": [4, 8, 16]})
    with pytest.raises(CheckpointError, match=r"features is \[4, 8, 12\] here, \[4, 8, 16\] there"):
        transfer(Segmenter(config()), tmp_path / "encoder", settings())
    with pytest.raises(CheckpointError, match="name is segresnet here, resenc there"):
        transfer(Segmenter(config(encoder=SEGRESNET)), tmp_path / "encoder", settings())


def test_a_lower_threshold_lets_a_part_through_and_reports_it(config: Make, tmp_path: Path) -> None:
    pretrained(tmp_path / "encoder", {**ENCODER, "features": [4, 8, 16]})
    segmenter = Segmenter(config())
    report = transfer(segmenter, tmp_path / "encoder", settings(threshold=0.1))
    one = report.encoders["all"]
    shapes = {n: p.numel() for n, p in segmenter.encoders["all"].named_parameters()}
    got = sum(shapes.get(name, 0) for name in [*one.loaded, *one.adapted])
    assert report.covered == pytest.approx(got / sum(shapes.values()))
    assert 0.1 < report.covered < 0.9
    assert any("in the file [16" in why for why in one.missing.values())


def test_no_folder_and_no_weights_are_clear_errors(config: Make, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="encoder, network or segmenter folder"):
        transfer(Segmenter(config()), tmp_path, settings())
    pretrained(tmp_path / "encoder")
    (tmp_path / "encoder" / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CheckpointError, match="whole safetensors file"):
        transfer(Segmenter(config()), tmp_path / "encoder", settings())
