"""The cost of every fusion strategy is listed, and wrong patches are named."""

from __future__ import annotations

import pytest

from hilum.cli.inventory import tables
from hilum.core.errors import SettingsError
from hilum.encoders import resenc
from hilum.fusion import STRATEGIES


def test_every_strategy_has_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    # Three narrow stages tell the strategies apart as four do, in less time.
    monkeypatch.setitem(resenc.SIZES, "tiny", ((8, 16, 32), (1, 1, 1)))
    head, names, *rows, note = list(tables("fusion", cost=True, patches=[16]))
    assert "16 x 16 x 16" in head
    assert names.split() == ["strategy", "parameters", "Gflop", "memory", "forward", "step"]
    assert [row.split()[0] for row in rows] == list(STRATEGIES)
    parameters = {row.split()[0]: float(row.split()[1]) for row in rows}
    assert parameters["late"] > parameters["mean"] > parameters["early"]
    assert "memory" in note


def test_a_patch_that_does_not_fit_the_strides_is_named() -> None:
    with pytest.raises(SettingsError, match=r"divisible by 8.*found 20"):
        list(tables("fusion", cost=True, patches=[20]))
