"""A segmenter is assembled for every strategy, and a folder gives the same one back."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.files import read_json, write_json
from hilum.fusion import STRATEGIES
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config, scale_of
from hilum.segmenter.flops import flops, training_flops
from hilum.segmenter.segmenter import Segmenter, _card

from ..weights_files import put_weights

Make = Callable[..., SegmenterConfig]
SIDES = (8, 12, 16)
FUSION: dict[str, dict[str, Any]] = {
    "single": {"modality": "pet"},
    "cross_attention": {"heads": 2, "min_stride": 4},
}


def batch(cases: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(cases, 2, *SIDES, generator=generator), torch.ones(
        cases, 2, dtype=torch.bool
    )


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_predicts_all_classes_at_full_resolution(name: str, config: Make) -> None:
    segmenter = Segmenter(config(fusion={"name": name, **FUSION.get(name, {})}, classes=3))
    logits = segmenter(*batch())
    assert [tuple(x.shape) for x in logits] == [(2, 3, 8, 12, 16), (2, 3, 4, 6, 8)]
    for key, encoder in segmenter.encoders.items():
        assert encoder.in_channels == len(segmenter.inputs[key])


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_operations_of_every_strategy_are_counted(name: str, config: Make) -> None:
    segmenter = Segmenter(config(fusion={"name": name, **FUSION.get(name, {})}))
    encoder = config().encoder
    # A 3x3x3 convolution of the first stage alone costs two operations per weight and voxel.
    least = 2 * 27 * encoder["features"][0] * math.prod(segmenter.config.patch)
    next(segmenter.parameters()).requires_grad_(False)
    before = [(weight, weight.requires_grad) for weight in segmenter.parameters()]
    assert least < flops(segmenter) < 10_000 * least
    # A layer costs once more for the gradient of its input, and for that of its weights.
    assert 2 * flops(segmenter) < training_flops(segmenter) <= 3 * flops(segmenter)
    after = [(weight, weight.requires_grad) for weight in segmenter.parameters()]
    assert all(a[0] is b[0] and a[1] == b[1] for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_saved_segmenter_gives_the_same_logits(name: str, config: Make, tmp_path: Path) -> None:
    segmenter = Segmenter(config(fusion={"name": name, **FUSION.get(name, {})})).eval()
    folder = segmenter.save(tmp_path / "a segmenter")
    again = Segmenter.from_pretrained(folder)
    assert not again.training
    for ours, theirs in zip(again(*batch()), segmenter(*batch()), strict=True):
        assert_close(ours, theirs, rtol=0, atol=0)
    assert sorted(p.name for p in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "ct, pet" in (folder / "README.md").read_text()


def test_the_card_predicts_with_the_scans_that_the_segmenter_knows(config: Make) -> None:
    assert "--ct CT --pet PET`" in _card(config())
    text = _card(config(modalities=("pet",)))
    assert "--out DIR --pet PET`" in text
    assert "(folder)(pet)`" in text
    assert "--ct" not in text
    assert "--modality mr=FILE" in _card(config(modalities=("mr",)))


def test_the_folder_says_how_values_were_scaled(config: Make, tmp_path: Path) -> None:
    folder = Segmenter(config()).save(tmp_path / "s")
    assert read_segmenter_config(folder).intensity == {"ct": scale_of("ct"), "pet": scale_of("pet")}
    values = read_json(folder / "config.json")
    values["intensity"]["pet"]["high"] = 20
    write_json(folder / "config.json", values)
    with pytest.raises(CheckpointError, match="pet must be scaled as in training"):
        Segmenter.from_pretrained(folder)


def test_the_order_of_channels_is_that_of_the_modalities(config: Make) -> None:
    torch.manual_seed(0)
    one = Segmenter(config(fusion={"name": "late"})).eval()
    other = Segmenter(config(fusion={"name": "late"}, modalities=("pet", "ct"))).eval()
    other.load_state_dict(one.state_dict())
    image, available = batch()
    assert_close(other(image.flip(1), available)[0], one(image, available)[0])


def test_weights_of_another_network_are_refused_by_name(config: Make, tmp_path: Path) -> None:
    folder = Segmenter(config()).save(tmp_path / "s")
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = "strategy.decoder.heads.0.bias"
    weights.pop(name)
    put_weights(folder, weights)
    with pytest.raises(CheckpointError, match=f"(?s)belong together.*missing {name}") as caught:
        Segmenter.from_pretrained(folder)
    assert str(folder) in str(caught.value)


def test_a_config_of_another_architecture_is_refused(config: Make, tmp_path: Path) -> None:
    folder = Segmenter(config()).save(tmp_path / "s")
    values = read_json(folder / "config.json")
    values["encoder"]["features"] = [4, 8, 16]
    write_json(folder / "config.json", values)
    with pytest.raises(CheckpointError, match=r"(?s)shape \[16.*in the file \[12"):
        Segmenter.from_pretrained(folder)


def test_an_encoder_folder_is_no_segmenter(config: Make, tmp_path: Path) -> None:
    segmenter = Segmenter(config())
    about = EncoderConfig.model_validate(
        {
            "architecture": segmenter.config.encoder,
            "modalities": ("ct", "pet"),
            "spacing": (4, 4, 4),
            "patch": SIDES,
        }
    )
    folder = save_encoder(tmp_path / "e", segmenter.encoders["all"], about)
    with pytest.raises(CheckpointError, match="found an encoder; fine-tune it first"):
        Segmenter.from_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"must hold config\.json"):
        Segmenter.from_pretrained(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": {"name": "resnec"}}, "did you mean 'resenc'"),
        ({"encoder": {"name": "resenc", "widht": 3}}, "has no 'widht'"),
        ({"fusion": {"name": "latest"}}, "did you mean 'late'"),
        ({"fusion": {"name": "early", "heads": 2}}, "has no 'heads'"),
        ({"fusion": {"name": "single", "modality": "mr"}}, "must be one of ct, pet, got 'mr'"),
        ({"fusion": {"name": "single"}}, "must be one of ct, pet"),
        ({"fusion": {"name": "cross_attention", "heads": 5, "min_stride": 4}}, "heads must divide"),
        ({"modalities": ("ct", "pat")}, "did you mean 'pet'"),
        ({"patch": (8, 12, 10)}, r"divisible by \(4, 4, 4\).*use \(8, 12, 12\)"),
        ({"classes": 1}, "greater than or equal to 2"),
        ({"modalities": ()}, "at least 1"),
    ],
)
def test_a_wrong_setting_is_one_clear_error(
    changes: dict[str, Any], message: str, config: Make
) -> None:
    with pytest.raises(SettingsError, match=message):
        Segmenter(config(**changes))


def test_untrained_it_expects_each_class_as_often_as_its_settings_say(config: Make) -> None:
    segmenter = Segmenter(config(classes=4, prior=0.03))
    with torch.no_grad():
        for name, parameter in segmenter.named_parameters():
            if ".heads." in name and parameter.ndim > 1:
                parameter.zero_()
        image = torch.randn(1, 2, 8, 12, 16)
        shares = segmenter(image, torch.ones(1, 2, dtype=torch.bool))[0].softmax(1)
    assert_close(shares[:, 1:], torch.full_like(shares[:, 1:], 0.03))
