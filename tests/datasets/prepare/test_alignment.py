"""A shift between CT and PET is found in mm, or not claimed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from hilum.core.geometry import Grid, Triple
from hilum.datasets.check.alignment import alignment_problems
from hilum.datasets.io.nifti import Volume, read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.prepare.alignment import _correlation, misalignment, shifted

REAL = Path(__file__).parents[4] / "shared" / "data" / "sts_petct" / "cases"


def trunk(*, cut: bool = False) -> tuple[Volume, Volume]:
    """Return CT and PET of an ellipsoid with two lungs, or of a cylinder cut at both ends."""
    grid = Grid.from_spacing((60, 60, 80), (4, 4, 4), (-160, -120, -120))
    d, h, w = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    along = 0 if cut else ((d - 30) / 26) ** 2
    body = along + ((h - 30) / 20) ** 2 + ((w - 40) / 28) ** 2 < 1
    lungs = np.zeros_like(body)
    if not cut:
        for middle in (28, 52):
            lungs |= ((d - 34) / 12) ** 2 + ((h - 30) / 10) ** 2 + ((w - middle) / 8) ** 2 < 1
    ct = np.where(body, np.where(lungs, -800.0, 40.0), -1000.0)
    suv = np.where(body, np.where(lungs, 0.3, 1.0), 0.0)
    suv[30:33, 24:27, 38:41] = 12  # a node that must not count for more than its volume
    coarse = Grid.from_spacing((48, 44, 60), (5, 5.5, 5.5), (-165, -118, -118))
    blurred = ndimage.gaussian_filter(suv, 0.7)
    pet = resample(blurred.astype(np.float32), grid, coarse)
    return Volume(ct.astype(np.float32), grid), Volume(pet, coarse)


@pytest.mark.parametrize("shift", [(0, 0, 0), (12, 0, 0), (-7, 9, 4), (0, -6, -21)])
def test_a_known_shift_is_found_to_within_2_mm(shift: Triple) -> None:
    ct, pet = trunk()
    found = misalignment(ct, shifted(pet, shift))
    assert found is not None
    assert found.known == (True, True, True)
    np.testing.assert_allclose(found.shift_mm, [-s for s in shift], atol=2.0)
    assert found.score >= found.score_before


def test_along_a_cut_cylinder_nothing_is_claimed() -> None:
    ct, pet = trunk(cut=True)
    found = misalignment(ct, shifted(pet, (10, 0, 20)))
    assert found is not None
    assert found.known == (True, True, False)
    assert found.shift_mm[2] == 0
    assert found.shift_mm[0] == pytest.approx(-10, abs=2)


def test_scans_that_do_not_overlap_or_do_not_match_give_nothing() -> None:
    ct, pet = trunk()
    assert misalignment(ct, shifted(pet, (0, 0, 500))) is None
    noise = np.random.default_rng(0).random(pet.array.shape).astype(np.float32)
    assert misalignment(ct, Volume(noise, pet.grid)) is None
    empty = Volume(np.zeros_like(pet.array), pet.grid)
    assert misalignment(ct, empty) is None


def test_the_correlation_of_every_shift_equals_one_worked_out_slowly() -> None:
    draw = np.random.default_rng(1)
    one, two = draw.random((2, 6, 7, 8))
    seen = [draw.random((6, 7, 8)) < 0.9 for _ in range(2)]
    found = _correlation(one, two, seen[0].astype(float), seen[1].astype(float), [1, 2, 2])
    for step in np.ndindex(3, 5, 5):
        shift = np.array(step) - (1, 2, 2)
        a, b = [], []
        for place in np.ndindex(6, 7, 8):
            other = tuple(np.array(place) - shift)
            inside = all(0 <= o < n for o, n in zip(other, (6, 7, 8), strict=True))
            if inside and seen[0][place] and seen[1][other]:
                a.append(one[place])
                b.append(two[other])
        if found[step] > -1:
            assert found[step] == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)


def test_the_check_notes_an_estimate_and_warns_of_a_large_one() -> None:
    ct, pet = trunk()
    facts: dict = {}
    assert alignment_problems("a", {"ct": ct, "pet": pet}, facts) == []
    assert facts["misalignment_mm"]["pet"] == pytest.approx([0, 0, 0], abs=2)
    (problem,) = alignment_problems("a", {"ct": ct, "pet": shifted(pet, (25, 0, 0))}, {})
    assert problem.severity == "warn"
    assert problem.severity == "warn"
    assert "pet should lie on ct" in problem.line()
    assert "-25 mm right" in problem.line() or "-24 mm right" in problem.line()
    assert alignment_problems("a", {"pet": pet}, {}) == []


def test_a_shift_that_the_halves_contradict_is_no_warning() -> None:
    ct, pet = trunk()
    half = pet.array.shape[0] // 2 + 3
    steps = round(25 / pet.grid.spacing[2])
    mixed = np.concatenate(
        [np.roll(pet.array[:half], steps, 2), np.roll(pet.array[half:], -steps, 2)]
    )
    facts: dict = {}
    (problem,) = alignment_problems("a", {"ct": ct, "pet": Volume(mixed, pet.grid)}, facts)
    assert problem.severity == "info"
    # 25 mm one way and 25 mm the other: 50 mm apart, half of it is the noise.
    assert facts["misalignment_noise_mm"]["pet"] == pytest.approx(25, abs=4)


@pytest.mark.skipif(not REAL.exists(), reason="needs the real patients")
def test_real_patients_moved_by_known_mm_are_found() -> None:
    errors = []
    for case in ("STS_009", "STS_013", "STS_017", "STS_023"):
        ct, pet = (read_volume(REAL / case / f"{name}.nii.gz") for name in ("ct", "pet"))
        still, moved = misalignment(ct, pet), misalignment(ct, shifted(pet, (10.0, -8.0, 0.0)))
        assert still is not None
        assert moved is not None
        # Legs look alike along their length: what is not told is not compared.
        errors += [moved.shift_mm[i] - still.shift_mm[i] - (-10, 8)[i] for i in (0, 1)]
    assert np.abs(errors).max() < 3
