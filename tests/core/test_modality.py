"""Each modality has one physical scale, and the network's scale can be undone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from hilum.core.errors import SettingsError
from hilum.core.modality import MODALITIES, Modality, modality, register


@pytest.mark.parametrize("name", MODALITIES)
def test_decode_undoes_encode_inside_the_window(name: str) -> None:
    rule = modality(name)
    x = np.linspace(rule.low, rule.high, 50)
    assert_allclose(rule.decode(rule.encode(x)), x, atol=1e-9 * (rule.high - rule.low))
    assert_allclose(rule.encode(torch.from_numpy(x)).numpy(), rule.encode(x))


def test_values_by_hand() -> None:
    assert_allclose(
        modality("ct").encode(np.array([-1000.0, -160, 40, 240, 999])), [-1, -1, 0, 1, 1]
    )
    assert_allclose(modality("pet").encode(np.array([-1.0, 0, np.e - 1])), [0, 0, 1])


def test_a_sequence_shares_the_rule_of_its_family() -> None:
    assert modality("mr_t1") is MODALITIES["mr"]
    assert modality("other_elastography") is MODALITIES["other"]


def test_a_sequence_with_an_absolute_scale_has_its_own_rule() -> None:
    assert modality("mr_adc").unit == "um2/s"
    assert_allclose(modality("mr_adc").encode(np.array([0.0, 1500, 3000, 9000])), [-1, 0, 1, 1])


def test_a_modality_of_ones_own_is_added_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODALITIES, "registered", {})
    mine = Modality("oct", "a.u.", 0, 3, "log", 0, (0, 99), (0, 1))
    register(mine)
    assert modality("oct_left") is mine
    with pytest.raises(SettingsError, match="the name 'oct' of modalities must be free"):
        register(mine)
    with pytest.raises(SettingsError, match="a window must rise"):
        register(Modality("oct2", "a.u.", 3, 3, "linear", 0, (0, 99), (0, 1)))


def test_rules_need_no_torch() -> None:
    code = "import sys, hilum.datasets.prepare.run; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


def test_an_unknown_name_is_refused_with_a_hint() -> None:
    with pytest.raises(SettingsError, match="unknown modality 'pett', did you mean 'pet'"):
        modality("pett")
