"""A network that was trained on z-scores gets those of the whole case, and keeps saying so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.files import read_json, write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.input_scale import scale_of
from hilum.core.modality import modality
from hilum.datasets.store.case_store import CaseStore, PreparedCase
from hilum.exchange.networks_out.exporting import export
from hilum.exchange.networks_out.network import interface
from hilum.segmenter.assessment.explain import insights
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.ensemble import Ensemble
from hilum.segmenter.inference.network_input import PaddedInput
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]
SIDES: IntTriple = (6, 10, 9)
PET = {"pet": scale_of("pet", "zscore")}


def case() -> PreparedCase:
    """Return PET before CT, and a PET that does not cover its first and last planes."""
    generator = np.random.default_rng(0)
    regions = np.full(SIDES, 7, np.uint8)
    regions[[0, -1]] = 5
    grid = Grid.from_spacing(SIDES, (4, 4, 4))
    images = np.stack([generator.gamma(1, 3, SIDES), generator.normal(0, 200, SIDES)])
    images[0][[0, -1]] = 0
    return PreparedCase(
        id="case", patient="patient", site="", split="", images=images.astype(np.float16),
        modalities=("pet", "ct"), regions=regions, label=None, grid=grid, source_grid=grid,
        factors={}, inputs={},
    )  # fmt: skip


def expected(one: PreparedCase, window: IntTriple) -> np.ndarray:
    """Return CT on its window and the PET's z-score, in the middle of a window, slowly."""
    seen = one.images[0, 1:-1].astype(np.float64)
    pet = np.zeros(SIDES)
    pet[1:-1] = (seen - seen.mean()) / seen.std()
    ct = np.clip(one.images[1].astype(np.float64), -160, 240) / 200 - 0.2
    room = [(max(w - s, 0) // 2, max(w - s, 0) - max(w - s, 0) // 2)
            for w, s in zip(window, SIDES, strict=True)]  # fmt: skip
    return np.stack([np.pad(ct, room, constant_values=-1), np.pad(pet, room)])


@pytest.mark.parametrize("window", [(4, 4, 4), (8, 12, 16)])
def test_rows_hold_the_zscore_of_the_whole_case(window: IntTriple) -> None:
    one = case()
    whole = PaddedInput(
        ("ct", "pet"), one, ("ct", "pet"), window, torch.device("cpu"), zscored=("pet",)
    )
    truth = expected(one, window)
    for start, stop in ((0, whole.sides[0]), (1, 4), (0, 1)):
        assert_allclose(whole.read(start, stop), truth[:, start:stop], rtol=0, atol=2e-6)


def test_a_modality_that_is_not_used_stays_zeros() -> None:
    whole = PaddedInput(("ct", "pet"), case(), ("ct",), SIDES, torch.device("cpu"), ("pet",))
    assert not whole.read(0, 6)[1].any()


def test_prediction_does_not_depend_on_the_unit_of_what_is_zscored(config: Make) -> None:
    torch.manual_seed(0)
    one = case()
    doubled = replace(one, images=one.images * np.array([2, 1], np.float16)[:, None, None, None])
    for zscored in (True, False):
        segmenter = Segmenter(config(intensity=PET if zscored else {})).eval()
        before, after = (predict_case(segmenter, x, precision="32") for x in (one, doubled))
        assert np.allclose(before, after, rtol=0, atol=1e-6) == zscored


def test_a_folder_keeps_the_scale_and_predicts_alike(config: Make, tmp_path: Path) -> None:
    segmenter = Segmenter(config(intensity=PET)).eval()
    again = Segmenter.from_pretrained(segmenter.save(tmp_path / "segmenter"))
    assert again.config.zscored == ("pet",)
    assert again.config.intensity == {"ct": scale_of("ct"), **PET}
    one = case()
    assert_array_equal(predict_case(again, one), predict_case(segmenter, one))


def test_maps_of_a_strategy_see_the_zscore(config: Make, store: CaseStore) -> None:
    torch.manual_seed(0)
    gated = {"name": "gated"}
    made = [Segmenter(config(fusion=gated, intensity=x)).eval() for x in ({}, PET)]
    for parameter in made[0].parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # gates begin at zeros
    made[1].load_state_dict(made[0].state_dict())
    window, zscore = (insights(one, store["case_0"]) for one in made)
    assert any(not np.allclose(window[name], zscore[name]) for name in window)


def test_what_cannot_carry_the_scale_says_so(config: Make, tmp_path: Path) -> None:
    segmenter = Segmenter(config(intensity=PET)).eval()
    folder = segmenter.save(tmp_path / "segmenter")
    with pytest.raises(CheckpointError, match=r"fixed windows.*found pet by"):
        export(folder, "monai_bundle", tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert "pet: (x - mean) / deviation" in interface(segmenter)["inputs"]["image"]["zscore"]
    with pytest.raises(SettingsError, match="z-scored"):
        Ensemble([segmenter, Segmenter(config())])


@pytest.mark.parametrize("scale", [{"unit": "HU", "scale": "zscore"}, {"scale": "minmax"}])
def test_an_unknown_scale_is_refused(config: Make, tmp_path: Path, scale: dict[str, str]) -> None:
    folder = Segmenter(config(intensity=PET)).save(tmp_path / "segmenter")
    values = read_json(folder / "config.json")
    values["intensity"]["pet"] = scale
    write_json(folder / "config.json", values)
    with pytest.raises(CheckpointError, match="pet must be scaled as in training"):
        Segmenter.from_pretrained(folder)
    assert modality("pet").unit == "SUV"
