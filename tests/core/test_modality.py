"""Each modality has one physical scale, and the network's scale can be undone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from hilum.core.errors import SettingsError
from hilum.core.modality import MODALITIES, modality


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


def test_an_unknown_name_is_refused_with_a_hint() -> None:
    with pytest.raises(SettingsError, match="unknown modality 'pett', did you mean 'pet'"):
        modality("pett")
