"""`hilum view` serves until it is interrupted, and refuses in one line."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest

from ..command import process_of


def test_a_folder_without_predictions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must hold predictions.*hilum predict"):
        CliRunner().invoke(app, ["view", str(tmp_path)], catch_exceptions=False)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_a_viewer_answers_until_ctrl_c(tmp_path: Path) -> None:
    grid = Grid.from_spacing((4, 5, 6), (3.0, 2.0, 2.0))
    mask = np.zeros(grid.shape, np.uint8)
    mask[1:3, 1:3, 2:4] = 1
    ct = write_volume(tmp_path / "raw" / "ct.nii.gz", np.full(grid.shape, 40, np.int16), grid)
    write_volume(tmp_path / "masks" / "a.nii.gz", mask, grid)
    manifest = write_manifest(tmp_path / "raw" / "manifest.csv", [Case("a", "a", {"ct": ct})])
    words = process_of("view", tmp_path / "masks", "--manifest", manifest, "--no-browser")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[0]
        with urlopen(url + "0/slice/ct/1.png", timeout=20) as answer:
            assert answer.read(8) == b"\x89PNG\r\n\x1a\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "the viewer has ended" in process.stdout.read()
