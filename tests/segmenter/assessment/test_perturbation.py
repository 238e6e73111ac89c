"""A perturbed case differs in what was changed, by as much as was said, and in nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.assessment.perturbation import Perturbation, direction, perturb


def centre(image: np.ndarray) -> np.ndarray:
    """Return the centre of what is hot, in voxels."""
    weights = np.clip(np.asarray(image, float) - 4, 0, None)
    index = np.indices(weights.shape).reshape(3, -1)
    return (index * weights.ravel()).sum(1) / weights.sum()


def test_nothing_asked_or_nothing_there_leaves_the_case(store: CaseStore) -> None:
    paired, alone = store["case_0"], store["case_5"]
    assert perturb(paired, "pet", Perturbation()) is paired
    assert perturb(alone, "pet", Perturbation(shift_mm=5)) is alone


@pytest.mark.parametrize("length", [4.0, 8.0])
def test_a_shift_moves_uptake_by_its_length_along_one_line(store: CaseStore, length: float) -> None:
    case = store["case_1"]
    moved = perturb(case, "pet", Perturbation(shift_mm=length), seed=3)
    row = case.modalities.index("pet")
    way = (centre(moved.images[row]) - centre(case.images[row])) * case.grid.spacing
    assert_allclose(way, length * direction("case_1", 3), atol=0.5)
    assert_allclose(np.asarray(moved.images[1 - row]), np.asarray(case.images[1 - row]))
    assert_allclose(np.asarray(moved.label), np.asarray(case.label))


def test_values_are_multiplied_and_blur_is_gaussian(store: CaseStore) -> None:
    case = store["case_2"]
    row = case.modalities.index("pet")
    plain = np.asarray(case.images[row], float)
    scaled = np.asarray(perturb(case, "pet", Perturbation(scale=0.7)).images[row], float)
    assert_allclose(scaled, 0.7 * plain, rtol=2e-3, atol=1e-3)
    blurred = np.asarray(perturb(case, "pet", Perturbation(fwhm_mm=8)).images[row], float)
    sigma = 8 / (2 * np.sqrt(2 * np.log(2))) / np.array(case.grid.spacing)
    by_scipy = ndimage.gaussian_filter(plain, sigma, mode="nearest", truncate=6)
    inner = (slice(4, -4),) * 3
    assert_allclose(blurred[inner], by_scipy[inner], atol=0.1)
    assert np.abs(blurred - plain).max() > 1


def test_directions_differ_between_cases_and_not_between_calls() -> None:
    one, again, other = direction("a"), direction("a"), direction("b")
    assert_allclose(one, again)
    assert_allclose(np.linalg.norm(one), 1)
    assert abs(one @ other) < 0.999
