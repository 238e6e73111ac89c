"""The phantoms' task needs CT and PET: neither alone tells malignant nodes from the rest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hilum.datasets.io.resampling import resample
from hilum.datasets.phantoms.cohort import PhantomCase, PhantomSettings, make_case
from hilum.datasets.phantoms.imaging import SCANNERS


@pytest.fixture(scope="module")
def cases() -> list[PhantomCase]:
    settings = PhantomSettings(size="demo", seed=1)
    return [make_case(settings, index) for index in range(6)]


def test_benign_and_malignant_nodes_look_alike_on_the_ct(cases: list[PhantomCase]) -> None:
    values = {
        kind: [
            float(np.median(case.ct[case.instances == row["id"]]))
            for case in cases
            for row in case.nodes
            if row["malignant"] is kind and not row["fatty_hilum"] and row["volume_ml"] > 0.5
        ]
        for kind in (True, False)
    }
    benign, malignant = values[False], values[True]
    assert min(len(benign), len(malignant)) > 10
    low, high = np.percentile(malignant, [5, 95])
    inside = np.mean([low <= value <= high for value in benign])
    assert inside > 0.7


def test_benign_nodes_hardly_take_up_tracer(cases: list[PhantomCase]) -> None:
    rows = [row for case in cases for row in case.nodes if row["volume_ml"] > 0.3]
    benign = [row["suv_mean_truth"] for row in rows if not row["malignant"]]
    malignant = [row["suv_mean_truth"] for row in rows if row["malignant"]]
    assert np.median(benign) < 1.3
    assert np.median(malignant) > 4
    assert np.percentile(malignant, 5) < 3, "some malignant nodes are mildly avid"


def test_distractors_look_like_malignant_nodes_on_the_pet(cases: list[PhantomCase]) -> None:
    malignant = [row for case in cases for row in case.nodes if row["malignant"]]
    others = [row for case in cases for row in case.distractors]
    assert len(others) > 20
    for key in ("suv_max_measured", "short_axis_mm"):
        low, high = np.percentile([row[key] for row in malignant], [5, 95])
        inside = np.mean([low <= row[key] <= high for row in others])
        assert inside > 0.7, key


def test_most_distractors_are_fat_on_the_ct(cases: list[PhantomCase]) -> None:
    fat, nodes = [], []
    for case in cases:
        smooth = ndimage.gaussian_filter(case.ct, 0.7)
        for row in case.distractors:
            if row["kind"] == "brown_fat" and row["volume_ml"] > 0.5:
                index = np.round(case.grid.to_index(row["centre_mm"])).astype(int)
                fat.append(smooth[tuple(index)])
        for row in case.nodes:
            if row["malignant"] and row["volume_ml"] > 0.5:
                nodes.append(case.ct[case.instances == row["id"]].mean())
    assert np.median(fat) < -60
    assert np.median(nodes) > 20


def test_neither_modality_suffices_for_a_threshold(cases: list[PhantomCase]) -> None:
    """The best threshold on each modality, told the truth, against both together."""
    ct, pet, label = [], [], []
    for case in cases:
        body = np.zeros(case.grid.shape, bool)
        for row in (*case.nodes, *case.distractors):
            body[tuple(np.round(case.grid.to_index(row["centre_mm"])).astype(int))] = True
        body = ndimage.maximum_filter(body, 15) & (case.ct > -500)
        ct.append(ndimage.gaussian_filter(case.ct, 0.6)[body])
        pet.append(resample(case.pet, case.pet_grid, case.grid)[body])
        label.append(case.label[body] > 0)
    ct, pet, label = map(np.concatenate, (ct, pet, label))

    def dice(mask: np.ndarray) -> float:
        return 2 * float((mask & label).sum()) / float(mask.sum() + label.sum())

    soft = [(ct > low) & (ct < high) for low in (-50, 0, 25) for high in (75, 100, 130)]
    hot = [pet > level for level in (1.5, 2, 2.5, 3, 4, 5)]
    best_ct, best_pet = max(map(dice, soft)), max(map(dice, hot))
    best_both = max(dice(a & b) for a in soft for b in hot)
    assert best_both > 1.15 * best_pet
    assert best_both > 2 * best_ct


def test_undoing_the_known_shift_brings_hot_spots_back_to_nodes(cases: list[PhantomCase]) -> None:
    settings = PhantomSettings(size="demo", seed=2, misregistration_mm=12, distractors=0, nodes=30)
    gains = []
    for index in range(3):
        case = make_case(settings, index)
        for row in case.nodes:
            if not row["malignant"] or row["volume_ml"] < 0.7:
                continue
            world = case.grid.to_world(np.argwhere(case.instances == row["id"]))
            there = world + case.misregistration.at(world)
            before, after = (
                ndimage.map_coordinates(case.pet, case.pet_grid.to_index(p).T, order=1).mean()
                for p in (world, there)
            )
            gains.append(after / before)
    assert len(gains) > 8
    assert np.median(gains) > 1.2
    assert np.mean(np.array(gains) > 0.98) > 0.9


def test_the_second_scanner_differs_as_stated(cases: list[PhantomCase]) -> None:
    assert SCANNERS["b"].fwhm_mm > SCANNERS["a"].fwhm_mm
    assert SCANNERS["b"].counts < SCANNERS["a"].counts
    assert SCANNERS["b"].suv_bias == 0.85
    settings = PhantomSettings(size="demo", seed=1, scanner="b")
    others = [make_case(settings, index) for index in range(4)]
    assert others[0].grid.spacing == pytest.approx((3.75, 3.3, 3.3))
    assert others[0].pet_grid.spacing == pytest.approx((3.0, 3.2, 3.2), abs=1e-6)
    assert cases[0].pet_grid.spacing == pytest.approx((3.5, 4.0, 4.0), abs=1e-6)
    liver = [
        [uptake_of_liver(case) / case.patient.liver for case in group] for group in (cases, others)
    ]
    assert np.median(liver[0]) == pytest.approx(1.0, abs=0.08)
    assert np.median(liver[1]) == pytest.approx(0.85, abs=0.1)


def uptake_of_liver(case: PhantomCase) -> float:
    """Return the median SUV of a ball in the right lobe, found through the atlas."""
    scale = case.misregistration.diaphragm_mm / 430
    world = np.array([74.0, 10.0, 400.0]) * scale
    index = np.round(case.pet_grid.to_index(world)).astype(int)
    box = tuple(slice(i - 2, i + 3) for i in index)
    return float(np.median(case.pet[box]))
