"""What every test of imported weights needs: a seed, and an encoder rebuilt from its folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hilum.core.checkpoints import load_weights, read_config, read_weights
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(7)


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
    spec = importlib.util.spec_from_file_location(
        "dicom_ct", Path(__file__).with_name("dicom_ct.py")
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
