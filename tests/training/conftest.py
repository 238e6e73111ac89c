"""The toy network of `toy.py`, which a subprocess imports, too."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from ..loading import loaded

TOY = Path(__file__).with_name("toy.py")


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    return loaded(TOY, "toy_training")


@pytest.fixture(scope="session")
def toy_folder() -> Path:
    return TOY.parent
