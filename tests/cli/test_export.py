"""The command line exports in one line, and refuses in one."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.encoders.resenc import ResencEncoder
from hilum.exchange.networks_out.exporting import TARGETS


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


def test_the_help_names_every_target() -> None:
    shown = CliRunner().invoke(app, ["export", "--help"], env={"COLUMNS": "300"}).output
    assert all(target in shown for target in TARGETS)
