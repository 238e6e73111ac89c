"""Patients of the second edition: the same for every scanner, every time, with exact truth."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import SettingsError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.manifest import read_manifest
from hilum.datasets.phantoms.cohort import (
    PhantomCase,
    PhantomSettings,
    make_case,
    make_cases,
    write_cohort,
)
from hilum.datasets.phantoms.second.atlas import ATLAS

TINY = PhantomSettings(edition=2, patients=2, size="tiny", seed=7, nodes=6, paired="d")


@pytest.fixture(scope="module")
def pair() -> list[PhantomCase]:
    return make_cases(TINY, 1)


def test_edition_1_is_what_it_was() -> None:
    """Whole numbers only, so that no rounding of a machine counts; made before edition 2 was."""
    case = make_case(PhantomSettings(size="tiny", seed=7, nodes=12), 1)
    found = hashlib.sha256(case.instances.tobytes() + case.label.tobytes()).hexdigest()
    assert found.startswith("1b188bdafe5c6dba")
    assert case.acquisition is None


def test_two_scanners_see_one_patient(pair: list[PhantomCase]) -> None:
    one, two = pair
    assert [case.id for case in pair] == ["phantom_a_0001", "phantom_d_0001"]
    assert (one.patient, one.acquisition) == (two.patient, two.acquisition)
    assert one.grid.shape != two.grid.shape
    assert one.pet_grid.shape != two.pet_grid.shape
    assert one.misregistration != two.misregistration
    first, second = ({row["id"]: row for row in case.nodes} for case in pair)
    common = sorted(set(first) & set(second))
    assert len(common) >= 3
    for key in common:
        a, b = first[key], second[key]
        assert (a["station"], a["malignant"], a["fatty_hilum"]) == (
            b["station"],
            b["malignant"],
            b["fatty_hilum"],
        )
        assert np.linalg.norm(np.subtract(a["centre_mm"], b["centre_mm"])) < max(one.grid.spacing)


def test_a_voxel_is_the_node_that_its_middle_lies_in(pair: list[PhantomCase]) -> None:
    one, two = pair
    for index in np.argwhere(two.instances > 0)[::7]:
        here = one.grid.to_index(two.grid.to_world(index))
        low = np.clip(np.floor(here).astype(int), 0, None)
        box = tuple(slice(i, i + 2) for i in low)
        assert two.instances[tuple(index)] in one.instances[box]


def test_a_pair_is_the_cases_of_both_scanners_alone(pair: list[PhantomCase]) -> None:
    for case, scanner in zip(pair, ("a", "d"), strict=True):
        alone = make_case(TINY.model_copy(update={"scanner": scanner, "paired": None}), 1)
        for name in ("ct", "pet", "label", "instances"):
            assert np.array_equal(getattr(alone, name), getattr(case, name))
        assert alone.nodes == case.nodes
        assert alone.distractors == case.distractors


def test_truth_and_units(pair: list[PhantomCase]) -> None:
    for case in pair:
        malignant = [row["id"] for row in case.nodes if row["malignant"]]
        assert np.array_equal(case.label > 0, np.isin(case.instances, malignant))
        ids = [row["id"] for row in case.nodes]
        assert ids == sorted(set(np.unique(case.instances).tolist()) - {0})
        assert np.array_equal(case.ct, np.round(case.ct))
        assert case.pet.min() >= 0
        assert {row["station"] for row in case.nodes} <= set(ATLAS)


def test_settings_of_the_examination_change_nothing_else() -> None:
    up = TINY.model_copy(update={"arms": "up", "phase": "plain", "metal": 0.0, "paired": None})
    one = make_case(up, 1)
    two = make_case(up.model_copy(update={"motion_mm": 12.0}), 1)
    assert one.patient == two.patient
    assert np.array_equal(one.instances, two.instances)
    assert np.array_equal(one.ct, two.ct)
    assert not np.array_equal(one.pet, two.pet)


def test_a_paired_cohort_has_one_patient_and_split_for_both_cases(tmp_path: Path) -> None:
    settings = TINY.model_copy(update={"test_fraction": 0.5})
    manifest = write_cohort(tmp_path / "pairs", settings)
    cases = read_manifest(manifest)
    assert len(cases) == 4
    by_patient: dict[str, list] = {}
    for case in cases:
        by_patient.setdefault(case.patient, []).append(case)
    assert sorted(by_patient) == ["phantom_s7_0000", "phantom_s7_0001"]
    for both in by_patient.values():
        assert {case.site for case in both} == {"scanner_a", "scanner_d"}
        assert len({case.split for case in both}) == 1
    assert {case.split for case in cases} == {"train", "test"}
    about = read_json(tmp_path / "pairs" / "cases" / "phantom_d_0001" / "nodes.json")
    assert about["acquisition"]["arms"] in ("up", "down")
    assert about["scanner"]["fwhm_mm"] == 8.5


def test_only_test_patients_are_seen_twice_if_asked(tmp_path: Path) -> None:
    settings = TINY.model_copy(update={"test_fraction": 0.5, "paired_in": "test"})
    cases = read_manifest(write_cohort(tmp_path / "test", settings))
    found = sorted((case.split, case.site) for case in cases)
    assert found == [("test", "scanner_a"), ("test", "scanner_d"), ("train", "scanner_a")]
    assert len({case.patient for case in cases if case.split == "test"}) == 1


def test_the_recipe_of_edition_1_names_nothing_of_edition_2(tmp_path: Path) -> None:
    write_cohort(tmp_path / "one", PhantomSettings(patients=1, size="tiny"))
    recipe = read_json(tmp_path / "one" / "phantom.json")
    assert recipe["version"] == 2
    assert not set(recipe) & {"edition", "paired", "arms", "phase", "metal", "motion_mm"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scanner": "c"}, "scanner must go with edition=2"),
        ({"paired": "b"}, "paired must go with edition=2"),
        ({"arms": "down", "phase": "plain"}, "arms and phase must go with edition=2"),
        ({"edition": 2, "paired": "a"}, "another scanner"),
        ({"edition": 2, "paired_in": "test"}, "paired_in needs a paired scanner"),
        ({"edition": 3}, "edition"),
        ({"edition": 2, "arms": "sideways"}, "arms: .*'up' or 'down'"),
        ({"edition": 2, "metal": 1.5}, "metal"),
    ],
)
def test_bad_settings_are_named(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        validate(PhantomSettings, settings)
