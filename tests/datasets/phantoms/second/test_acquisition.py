"""Arms, contrast phase and metal are in the scan as they were drawn."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.seeds import numpy_generator
from hilum.datasets.phantoms.canvas import Canvas, Tissue
from hilum.datasets.phantoms.chest import AORTA
from hilum.datasets.phantoms.second.acquisition import draw_acquisition, venous_contrast
from hilum.datasets.phantoms.second.atlas import ATLAS
from hilum.datasets.phantoms.second.case import draw_anatomy
from hilum.datasets.phantoms.settings import PhantomSettings
from hilum.datasets.phantoms.stations import STATIONS

BASE = {"edition": 2, "size": "tiny", "seed": 3, "nodes": 4, "metal": 0.0}


def anatomy(**more: object) -> Canvas:
    return draw_anatomy(PhantomSettings.model_validate(BASE | more), 0).canvas


def at(canvas: Canvas, place: tuple[float, float, float]) -> tuple[float, int]:
    index = tuple(np.round(canvas.index_of(place)).astype(int))
    return float(canvas.hu[index]), int(canvas.tissue[index])


def test_arteries_are_bright_in_the_arterial_phase_only() -> None:
    x, y, z, _ = AORTA[6]
    found = {
        phase: at(anatomy(phase=phase), (x, y, z))[0] for phase in ("plain", "portal", "arterial")
    }
    assert found["plain"] == pytest.approx(42, abs=8)
    assert 100 < found["portal"] < 185
    assert found["arterial"] > 200


def test_the_arms_lie_where_they_should() -> None:
    wide = {"region": "chest", "shape": (48, 40, 64), "ct_spacing": (5, 6, 6.5)}
    up, down = (anatomy(arms=arms, **wide) for arms in ("up", "down"))
    beside_body, beside_neck = (192.0, -10.0, 490.0), (143.0, -12.0, 690.0)
    assert at(down, beside_body)[1] in (Tissue.MUSCLE, Tissue.BONE)
    assert at(up, beside_body)[1] == Tissue.AIR
    assert at(up, (143.0, -12.0, 684.0))[1] in (Tissue.MUSCLE, Tissue.BONE), beside_neck
    assert at(down, (143.0, -12.0, 684.0))[1] == Tissue.AIR


def test_what_is_drawn_follows_the_settings() -> None:
    settings = PhantomSettings.model_validate(BASE | {"metal": 1.0})
    drawn = [draw_acquisition(numpy_generator(0, k), settings) for k in range(200)]
    assert {one.metal for one in drawn} == {"port"}, "the only one that a chest can hold"
    assert 0.15 < np.mean([one.arms == "down" for one in drawn]) < 0.36
    assert {one.phase for one in drawn} == {"plain", "arterial", "portal"}
    assert all((one.artery_hu > 0) == (one.phase == "arterial") for one in drawn)
    still = settings.model_copy(update={"motion_mm": 0.0, "arms": "down", "phase": "plain"})
    fixed = [draw_acquisition(numpy_generator(0, k), still) for k in range(20)]
    assert not any(one.breathing_mm or any(one.jump_mm) for one in fixed)
    assert {(one.arms, one.phase) for one in fixed} == {("down", "plain")}
    rng = np.random.default_rng(0)
    assert venous_contrast(rng, "plain") == 0
    assert 70 <= venous_contrast(rng, "portal") <= 130
    assert 15 <= venous_contrast(rng, "arterial") <= 40


def test_metal_is_in_the_scan_and_spares_nodes() -> None:
    settings = PhantomSettings.model_validate(BASE | {"metal": 1.0})
    found = draw_anatomy(settings, 0)
    assert found.metal is not None
    assert found.canvas.hu.max() > 2000
    assert draw_anatomy(settings.model_copy(update={"metal": 0.0}), 0).metal is None
    assert not (found.metal[found.canvas.tissue == Tissue.NODE] > 0.05).any()


def test_the_atlas_has_the_regions_of_the_neck_chest_and_abdomen() -> None:
    assert {
        "neck_IIA_left",
        "neck_VB_right",
        "2R",
        "4L",
        "7",
        "hilar_10R",
        "interlobar_11L",
    } <= set(ATLAS)
    assert {"para_aortic_left", "aortocaval", "obturator_left", "inguinal_right"} <= set(ATLAS)
    heights = np.array([one.centre[2] for one in ATLAS.values()])
    for low, high, least in ((660, 800, 20), (430, 660, 20), (15, 430, 25)):
        assert ((heights > low) & (heights <= high)).sum() >= least
    assert len(ATLAS) > len(STATIONS)


def test_large_nodes_are_drawn_more_often_where_nodes_are_large() -> None:
    """Bayes: the ratio of both weights is that of two normal densities of log sizes."""
    chest, belly = ATLAS["7"], ATLAS["coeliac"]
    for short in (5.0, 9.5, 20.0):
        logs = [np.log(short) - np.log(9.5 * one.size) for one in (chest, belly)]
        density = np.exp(-np.square(logs) / (2 * 0.45**2)) * (chest.weight, belly.weight)
        ratio = chest.weight_of(short) / belly.weight_of(short)
        assert ratio == pytest.approx(density[0] / density[1])
    assert STATIONS["7"].weight_of(20.0) == STATIONS["7"].weight
