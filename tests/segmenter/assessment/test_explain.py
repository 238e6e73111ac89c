"""Parts of a prediction are Shapley values: they sum to it, and are fair by hand."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from numpy.testing import assert_allclose
from PIL import Image

from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.assessment.explain import (
    Contributions,
    contributions,
    explain,
    insights,
    node_rows,
    shapley,
)
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.segmenter import Segmenter

NAMES = ("ct", "pet", "mr_t1")


def table(seed: int = 0) -> dict[frozenset[str], np.ndarray]:
    generator = np.random.default_rng(seed)
    subsets = [frozenset(n for i, n in enumerate(NAMES) if code >> i & 1) for code in range(1, 8)]
    return {subset: generator.random((2, 3)) for subset in subsets}


def test_a_part_is_the_mean_gain_over_all_orders() -> None:
    worth = table()
    parts = shapley(worth.__getitem__, NAMES, 0.1)
    for name in NAMES:
        gains = []
        for order in permutations(NAMES):
            before = frozenset(order[: order.index(name)])
            gains.append(worth[before | {name}] - (worth[before] if before else 0.1))
        assert_allclose(parts[name], np.mean(gains, 0), rtol=1e-5)
    assert_allclose(sum(parts.values()), worth[frozenset(NAMES)] - 0.1, rtol=1e-5)


def test_a_market_of_gloves() -> None:
    """A pair is worth 1: the only right one gets 2/3, each of two left ones 1/6 (textbooks)."""

    def value(chosen: frozenset[str]) -> np.ndarray:
        return np.array([float("pet" in chosen and len(chosen) > 1)])

    parts = shapley(value, NAMES, 0.0)
    assert_allclose(parts["pet"], [2 / 3], rtol=1e-6)
    assert_allclose([parts["ct"], parts["mr_t1"]], [[1 / 6], [1 / 6]], rtol=1e-6)


def test_two_modalities_take_three_predictions() -> None:
    asked = []

    def value(chosen: frozenset[str]) -> np.ndarray:
        asked.append(chosen)
        return np.array([{"ct": 0.2, "pet": 0.6}[next(iter(chosen))] if len(chosen) == 1 else 0.9])

    parts = shapley(value, ("ct", "pet"), 0.0)
    assert len(asked) == 3
    assert_allclose(parts["ct"], [(0.2 + 0.9 - 0.6) / 2], rtol=1e-6)
    assert_allclose(parts["pet"], [(0.6 + 0.9 - 0.2) / 2], rtol=1e-6)


def test_parts_sum_to_the_probability_and_an_absent_modality_has_none(
    config: Callable[..., Any], store: CaseStore
) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(config(fusion={"name": "late"}))
    found = contributions(segmenter, store["case_0"], precision="32")
    total = found.parts["ct"] + found.parts["pet"]
    assert_allclose(total, found.probability - segmenter.config.prior, atol=1e-5)
    lone = contributions(segmenter, store["case_5"], precision="32")
    assert list(lone.parts) == ["ct"]
    assert_allclose(lone.drops["ct"], lone.parts["ct"], atol=1e-6)


def test_a_drop_is_the_prediction_minus_the_one_without(
    config: Callable[..., Any], store: CaseStore
) -> None:
    torch.manual_seed(0)
    segmenter, case = Segmenter(config(fusion={"name": "late"})), store["case_0"]
    found = contributions(segmenter, case, precision="32")
    alone = 1 - predict_case(segmenter, case, modalities=["ct"], precision="32")[0]
    assert_allclose(found.drops["pet"], found.probability - alone, atol=1e-6)
    assert np.abs(found.drops["pet"] - found.parts["pet"]).max() > 1e-4, "not the same thing"


def test_nodes_are_numbered_by_volume_and_their_parts_sum(store: CaseStore) -> None:
    case = store["case_0"]
    probability = np.zeros(case.grid.shape, np.float32)
    probability[2:4, 2:4, 2:4], probability[8:11, 8:11, 8:11] = 0.6, 0.9
    parts = {"ct": probability * 0.25, "pet": probability * 0.75}
    found = Contributions(probability, parts, {"pet": probability * 0.5})
    rows = node_rows(found, case.grid, "case_0")
    assert [row["node"] for row in rows] == [1, 2]
    assert_allclose([float(r["volume_ml"]) for r in rows], [27 * 0.064, 8 * 0.064], rtol=1e-6)
    assert_allclose([float(r["part_pet"]) for r in rows], [0.675, 0.45], rtol=1e-6)
    assert_allclose([float(r["drop_pet"]) for r in rows], [0.45, 0.3], rtol=1e-6)


def test_gates_are_shares_on_the_grid_of_the_case(
    config: Callable[..., Any], store: CaseStore
) -> None:
    for name in ("gated", "late_uncertainty"):
        segmenter = Segmenter(config(fusion={"name": name}))
        maps = insights(segmenter, store["case_0"])
        assert set(maps) == {"gate_ct", "gate_pet"}
        assert maps["gate_ct"].shape == store["case_0"].grid.shape
        assert_allclose(maps["gate_ct"] + maps["gate_pet"], 1, atol=1e-5)
    segmenter = Segmenter(config(fusion={"name": "cross_attention", "heads": 2, "min_stride": 4}))
    maps = insights(segmenter, store["case_0"])
    assert_allclose(maps["attention_ct"], 0, atol=1e-6)  # nothing is added before training
    assert insights(Segmenter(config()), store["case_0"]) == {}


def test_an_offset_is_shown_in_voxels_of_the_image(
    config: Callable[..., Any], store: CaseStore
) -> None:
    """Every point of every head moved by the same: half of the reach along the width."""
    fusion = {"name": "deformable", "heads": 2, "points": 2, "min_stride": 2, "reach": 3.0}
    segmenter = Segmenter(config(fusion=fusion))
    assert_allclose(insights(segmenter, store["case_0"])["offset_pet"], 0)
    for layer in segmenter.strategy.look.values():  # pyright: ignore
        layer.offsets.bias.data[2::3] = float(np.arctanh(0.5))  # pyright: ignore
    maps = insights(segmenter, store["case_0"])
    assert_allclose(maps["offset_pet"], 1.5 * 2, rtol=1e-5)  # stride 2
    assert_allclose(insights(segmenter, store["case_5"])["offset_ct"], 0)


def test_everything_is_written(threshold: Segmenter, store: CaseStore, tmp_path: Path) -> None:
    def insight(volumes: dict[str, torch.Tensor], available: torch.Tensor) -> dict:
        return {"gate_pet": (volumes["pet"] > 0).float()} if available[0, 1] else {}

    threshold.strategy.insight = insight  # pyright: ignore
    explain(threshold, store, ["case_0", "case_5"], tmp_path)
    with (tmp_path / "nodes.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"] for row in rows} == {"case_0", "case_5"}
    image = nibabel.load(tmp_path / "case_0_part_pet.nii.gz")  # pyright: ignore
    assert image.shape == store["case_0"].grid.shape[::-1]  # pyright: ignore
    with Image.open(tmp_path / "case_0.png") as picture:
        assert picture.width > 1000
    for name in ("part_ct", "drop_pet", "gate_pet"):
        assert (tmp_path / f"case_0_{name}.nii.gz").exists()
    with Image.open(tmp_path / "case_0_maps.png") as picture:
        pixels = np.asarray(picture).reshape(-1, 3).astype(int)
    assert (pixels[:, 0] - pixels[:, 2] > 80).any(), "yellow where the gate is open"
    assert not (tmp_path / "case_5_maps.png").exists()
    assert not (tmp_path / "case_5_part_pet.nii.gz").exists()
