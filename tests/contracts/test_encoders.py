"""Our own encoders keep what `hilum contract` asks of anyone's."""

from __future__ import annotations

import sys

import pytest

from hilum.contracts.encoders import *  # noqa: F403

from ..warm import python


@pytest.fixture(autouse=True)
def warm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes of the checks begin with torch imported."""
    monkeypatch.setattr(sys, "executable", python())
