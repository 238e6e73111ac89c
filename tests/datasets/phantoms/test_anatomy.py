"""A phantom has the organs of a trunk, with the HU and SUV of each."""

from __future__ import annotations

import time
from itertools import chain

import numpy as np
import pytest

from hilum.core.geometry import Grid
from hilum.datasets.phantoms.anatomy import FIELD_MM, REGIONS, paint_body
from hilum.datasets.phantoms.canvas import Canvas, Tissue
from hilum.datasets.phantoms.chest import diaphragm, paint_chest
from hilum.datasets.phantoms.cohort import PhantomSettings, make_case
from hilum.datasets.phantoms.organs import paint_abdomen, paint_neck, paint_pads
from hilum.datasets.phantoms.patient import Patient, draw_patient

SCALE = 0.6
PLACES = {
    "brain": ((30, -10, 866), 36, "brain"),
    "heart wall or blood": ((-38, 15, 468), None, None),
    "liver": ((80, 5, 395), None, "liver"),
    "lung": ((85, -20, 520), -850, 0.45),
    "bladder": ((0, 24, 48), 6, "bladder"),
    "vertebra": ((0, -42, 345), None, "marrow"),
    "aorta": ((-22, -41, 500), None, "blood"),
    "trachea": ((0, -3, 610), -960, 0.1),
    "psoas": ((52, -22, 190), 58, "muscle"),
}


@pytest.fixture(scope="module")
def painted() -> tuple[Canvas, Patient]:
    """Return a whole trunk before any scanner, its bending small."""
    low, _ = REGIONS["brain_to_bladder"]
    shape, spacing = (132, 40, 62), (4.0, 4.0, 4.0)
    origin = (-122.0, -73.0, SCALE * low)
    rng = np.random.default_rng(3)
    canvas = Canvas(Grid.from_spacing(shape, spacing, origin), SCALE, rng)
    person = draw_patient(rng)
    cavity = paint_body(canvas, person, rng)
    paint_pads(canvas)
    paint_neck(canvas, person)
    paint_abdomen(canvas, person, cavity, rng)
    paint_chest(canvas, person, cavity, rng)
    return canvas, person


@pytest.mark.parametrize("organ", PLACES)
def test_an_organ_has_its_hu_and_suv(organ: str, painted: tuple[Canvas, Patient]) -> None:
    canvas, person = painted
    place, hu, suv = PLACES[organ]
    index = tuple(np.round(canvas.index_of(place)).astype(int))
    if hu is not None:
        assert canvas.hu[index] == pytest.approx(hu, abs=80 if hu < -500 else 25)
    if suv is not None:
        expected = suv if isinstance(suv, float) else getattr(person, suv)
        assert canvas.suv[index] == pytest.approx(expected, rel=0.3, abs=0.1)
    assert canvas.tissue[index] not in (Tissue.AIR, Tissue.FAT)


def test_every_kind_of_tissue_is_there(painted: tuple[Canvas, Patient]) -> None:
    canvas, _ = painted
    litres = {t: (canvas.tissue == t).sum() * canvas.grid.voxel_ml / 1000 for t in Tissue}
    adult = {tissue: value / SCALE**3 for tissue, value in litres.items()}
    assert 2 < adult[Tissue.LUNG] < 8
    assert 8 < adult[Tissue.MUSCLE] < 40
    assert 5 < adult[Tissue.FAT] < 35
    assert 2 < adult[Tissue.BONE] < 12
    assert 0.2 < adult[Tissue.VESSEL] < 2
    assert adult[Tissue.AIRWAY] > 0.01
    assert adult[Tissue.NODE] == 0


def test_the_body_is_wrapped_in_skin_and_fat(painted: tuple[Canvas, Patient]) -> None:
    """Walking in from the right side at the level of the kidneys: air, skin, fat, then muscle."""
    canvas, _ = painted
    index = np.round(canvas.index_of((0.0, 0.0, 320.0))).astype(int)
    line = canvas.tissue[index[0], index[1]][::-1]
    kinds = [int(line[0])]
    for tissue in line:
        if tissue != kinds[-1]:
            kinds.append(int(tissue))
    first = [k for k in kinds if k != Tissue.SKIN]
    assert first[:3] == [Tissue.AIR, Tissue.FAT, Tissue.MUSCLE]


def test_the_right_dome_of_the_diaphragm_is_higher() -> None:
    x = np.linspace(-140, 140, 281, dtype="f4")
    height = diaphragm(x, np.full_like(x, 10))
    assert height[x > 20].max() > height[x < -20].max() > 400


def test_people_differ() -> None:
    people = [draw_patient(np.random.default_rng(key)) for key in range(60)]
    assert 0.3 < np.mean([person.female for person in people]) < 0.7
    assert np.ptp([person.fat_mm for person in people]) > 8
    assert 0.2 < np.mean([person.contrast == 0 for person in people]) < 0.6
    heart = [person.heart for person in people]
    assert max(heart) / min(heart) > 3


def test_regions_fit_into_their_presets() -> None:
    for size in ("tiny", "demo", "full"):
        for scanner in ("a", "b"):
            settings = PhantomSettings(size=size, scanner=scanner)
            shape, spacing = settings.ct_box()
            low, high = settings.heights()
            need = settings.fit() * np.array([high - low, *FIELD_MM])
            assert (need <= np.multiply(shape, spacing) + 1e-6).all()
            assert 0.55 < settings.fit() < 0.8


@pytest.mark.slow
def test_the_full_preset_holds_brain_and_bladder_and_is_quick() -> None:
    settings = PhantomSettings(size="full", seed=2)
    began = time.process_time()
    case = make_case(settings, 1)
    assert time.process_time() - began < 6, "about 1 s on a quiet machine"
    assert 0.9 < case.ct.size / 128**3 < 1.2
    assert max(settings.ct_box()[1][1:]) <= 2
    top = case.pet[-6:].max()
    assert top == pytest.approx(case.patient.brain, rel=0.5)
    others = (make_case(settings, number) for number in (0, 2))  # made if the first has none
    assert any("neck" in row["station"] for one in chain([case], others) for row in one.nodes)
