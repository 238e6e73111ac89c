"""The command line exports in one line, and refuses in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.settings import validate
from hilum.encoders.resenc import ResencEncoder
from hilum.exchange.networks_out.exporting import TARGETS, export


def test_an_encoder_is_exported_from_the_command_line(tmp_path: Path) -> None:
    small = {"features": [4, 8], "blocks": [1, 1]}
    values = {
        "architecture": {"name": "resenc", **small},
        "modalities": ("ct",),
        "spacing": (3.0, 2.0, 2.0),
        "patch": (4, 6, 8),
    }
    encoder = ResencEncoder(in_channels=1, **small)  # pyright: ignore[reportArgumentType]
    folder = save_encoder(tmp_path / "encoder", encoder, validate(EncoderConfig, values))
    out = tmp_path / "out"
    run = CliRunner()
    done = run.invoke(app, ["export", "nnunet", str(folder), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert (out / "checkpoint.pth").is_file()
    assert "largest difference from our output: 0" in done.output
    with pytest.raises(SettingsError, match="choose from huggingface"):
        run.invoke(app, ["export", "keras", str(folder), "--out", str(out)], catch_exceptions=False)


def test_an_option_without_a_use_is_refused(tmp_path: Path) -> None:
    words = ["export", "state_dict", str(tmp_path), "--out", str(tmp_path / "out")]
    with pytest.raises(UserError, match="--tolerance says nothing to state_dict"):
        CliRunner().invoke(app, [*words, "--tolerance", "1"], catch_exceptions=False)


def test_a_network_folder_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"kind": "network"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="found a network; give the encoder folder"):
        export(tmp_path, "state_dict", tmp_path / "out")


def test_the_help_names_every_target() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "300"}).output
    assert all(target in shown for target in TARGETS)
