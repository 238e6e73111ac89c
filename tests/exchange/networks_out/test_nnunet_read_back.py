"""An encoder that went out to nnU-Net and came back is the one that it was, and says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.checkpoints import EncoderConfig, load_weights, read_config, save_encoder
from hilum.core.errors import CheckpointError
from hilum.core.input_scale import scale_of
from hilum.core.registry import build
from hilum.core.seen import Seen
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.exchange.networks_out.exporting import export
from hilum.exchange.weights_in.importing import import_weights

STEPS = {"features": [4, 8, 12], "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}
RESIDUAL: dict[str, Any] = {"name": "resenc", "blocks": [1, 2, 1], **STEPS}
PLAIN: dict[str, Any] = {"name": "plainconv", "convolutions": [1, 2, 2], **STEPS}
SCALES = {"window": scale_of("ct"), "zscore": scale_of("ct", "zscore")}
KEPT = ("spacing", "patch", "orientation", "pretext", "data_hash", "licence", "seen")


def written(folder: Path, architecture: dict[str, Any], scale: str) -> tuple[Encoder, Path]:
    torch.manual_seed(0)
    made = build(ENCODERS, architecture, in_channels=2).eval()
    values = {
        "architecture": architecture,
        "modalities": ("ct", "pet"),
        "spacing": (3.0, 2.0, 2.0),
        "patch": (16, 24, 32),
        "intensity": {"ct": SCALES[scale], "pet": scale_of("pet")},
        "pretext": {"name": "mae", "masked": 0.6},
        "seen": Seen.of(["anna"], ["0" * 16]),
        "data_hash": "abc",
        "licence": "CC-BY-NC-4.0",
    }
    return made, save_encoder(folder, made, validate(EncoderConfig, values))


@pytest.mark.parametrize("architecture", [RESIDUAL, PLAIN], ids=lambda spec: spec["name"])
@pytest.mark.parametrize("scale", SCALES)
def test_what_is_read_back_is_the_encoder_that_was_written(
    tmp_path: Path, architecture: dict[str, Any], scale: str
) -> None:
    """The same maps of the same image, whichever order is asked for, and the same description."""
    ours, source = written(tmp_path / "source", architecture, scale)
    file = export(source, "nnunet", tmp_path / "out") / "checkpoint.pth"
    image, before = torch.randn(1, 2, 8, 16, 12), read_config(source)
    for order in ((0, 1), (1, 0), (1,)):
        names = [before.modalities[place] for place in order]
        folder, _ = import_weights("auto", file, tmp_path / "-".join(names), modalities=names)
        after = read_config(folder)
        again = build(ENCODERS, after.architecture, in_channels=len(names)).eval()
        load_weights(again, read_weights(folder), threshold=1.0)
        only = image.clone()
        only[:, [place for place in (0, 1) if place not in order]] = 0
        with torch.no_grad():
            for one, other in zip(again(image[:, list(order)]), ours(only), strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert after.modalities == tuple(names)
        assert after.intensity == {name: before.intensity[name] for name in names}
        for key in KEPT:
            assert getattr(after, key) == getattr(before, key), key


def test_a_plan_of_an_older_hilum_gives_what_it_has(tmp_path: Path) -> None:
    """No patients, and no licence, least of all OpenMind's; what is no plan is refused."""
    _, source = written(tmp_path / "source", RESIDUAL, "window")
    file = export(source, "nnunet", tmp_path / "out") / "checkpoint.pth"
    content = torch.load(file, weights_only=True)
    told = content["nnssl_adaptation_plan"]["pretrain_plan"]["configurations"]["3d_fullres"]
    for key in ("seen", "licence", "data_hash"):
        told.pop(key)
    torch.save(content, tmp_path / "old.pth")
    names = ["pet", "ct"]
    folder, _ = import_weights("auto", tmp_path / "old.pth", tmp_path / "a", modalities=names)
    about = read_config(folder)
    assert (about.seen, about.licence, about.intensity) == (None, "", read_config(source).intensity)
    assert about.extra["imported"]["channels_of_file"] == ["ct", "pet"]
    told["spacing"] = "wide"
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"as `hilum export nnunet` wrote it.*spacing"):
        import_weights("auto", tmp_path / "odd.pth", tmp_path / "b", modalities=names)
