"""What every test of imported weights needs: a seed, and an encoder rebuilt from its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.checkpoints import load_weights, read_config
from hilum.core.registry import build
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder

from ..loading import loaded


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(7)


@pytest.fixture
def equals(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor], None]:
    """Assert that features are the source's within 1e-5, and note how far apart they are.

    The notes go to the file that `HILUM_EQUALITY` names, a line each, for `benchmarks/equality.py`.
    """
    notes = os.environ.get("HILUM_EQUALITY")

    def check(ours: Tensor, theirs: Tensor) -> None:
        assert_close(ours, theirs, rtol=0, atol=1e-5)
        if notes:
            apart = float((ours - theirs).detach().abs().max())
            scale = float(theirs.detach().abs().max())
            line = {"test": request.node.nodeid, "apart": apart, "largest": scale}
            with Path(notes).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    return check


@pytest.fixture
def rebuilt() -> Callable[[Path], Encoder]:
    """Rebuild an encoder from nothing but its folder, as fine-tuning does."""

    def rebuild(folder: Path) -> Encoder:
        config = read_config(folder)
        encoder = build(ENCODERS, config.architecture, in_channels=len(config.modalities))
        load_weights(encoder, read_weights(folder), threshold=1.0)
        return encoder.eval()

    return rebuild


@pytest.fixture(scope="session")
def ct() -> ModuleType:
    """The small CT series of `dicom_ct.py`."""
    pytest.importorskip("pydicom")
    return loaded(Path(__file__).parent / "dicom_out" / "dicom_ct.py")
