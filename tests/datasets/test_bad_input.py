"""Every bad input of a cohort is found by the check, and refused by preparation where it blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError
from hilum.core.geometry import Grid, IntTriple, Triple
from hilum.datasets.check.run import CheckReport, check
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.case import PrepareSettings, prepare_case


def scanner(shape: IntTriple, spacing: Triple, origin: Triple = (30, 40, -100)) -> Grid:
    """Return a grid as scanners write it: columns to the left, rows to the back."""
    affine = Grid.from_spacing(shape, spacing, origin).affine.copy()
    affine[:3, 1:3] *= -1
    return Grid(shape, affine)


CT = scanner((12, 24, 28), (3, 2.5, 2))
PET = scanner((9, 16, 15), (4, 4, 4))
ELSEWHERE = scanner((9, 16, 15), (4, 4, 4), (30, 40, 900))


class Builder:
    """Writes sound cases, and spoils one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases = {name: self.sound(name, seed) for seed, name in enumerate("abc")}

    def sound(self, name: str, seed: int) -> Case:
        generator = np.random.default_rng(seed)
        ct = np.full(CT.shape, -1000) + generator.normal(0, 10, CT.shape)
        ct[:, 4:20, 4:24] += 1040
        ct[:, 10:12, 12:14] = 900
        pet = 0.05 + generator.random(PET.shape) * 0.1
        pet[:, 3:13, 3:13] += 1
        label = np.zeros(CT.shape, np.uint8)
        label[4:7, 8:12, 8:12] = 1
        case = Case(name, f"patient {name}", {}, None, "site", "test" if name == "c" else "train")
        for key, array, grid in [("ct", ct, CT), ("pet", pet, PET), ("label", label, CT)]:
            case = self.put(case, key, array.astype(np.float32), grid)
        return case

    def put(self, case: Case, key: str, array: np.ndarray, grid: Grid, ending: str = "") -> Case:
        """Return the case with a volume or a label written for it."""
        path = self.folder / case.id / f"{key}{ending}.nii.gz"
        write_volume(path, array.astype(np.uint8) if key == "label" else array, grid)
        if key == "label":
            return replace(case, label=path)
        return replace(case, volumes={**case.volumes, key: path})

    def change(self, key: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        """Rewrite one file of case b."""
        case = self.cases["b"]
        path = case.label if key == "label" else case.volumes[key]
        assert path
        array, grid = (read_label if key == "label" else read_volume)(path)
        write_volume(path, change(array), grid)

    def check(self, **settings: bool | int) -> CheckReport:
        path = write_manifest(self.folder / "manifest.csv", list(self.cases.values()))
        return check(path, **settings)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def cohort(tmp_path: Path) -> Builder:
    return Builder(tmp_path / "Größe é")


def move(cohort: Builder, key: str, grid: Grid) -> None:
    """Put a volume of case b on another grid, with zeros or the sound values."""
    case = cohort.cases["b"]
    path = case.label if key == "label" else case.volumes[key]
    assert path
    array = (read_label if key == "label" else read_volume)(path).array
    if array.shape != grid.shape:
        array = np.resize(array, grid.shape)
    cohort.cases["b"] = cohort.put(case, key, array, grid)


def first(array: np.ndarray, value: float) -> np.ndarray:
    array = array.astype(np.float32)
    array[0, 0, 0] = value
    return array


def file_of(cohort: Builder, key: str) -> Path:
    return cohort.cases["b"].volumes[key]


def set_case(cohort: Builder, **changes: object) -> None:
    cohort.cases["b"] = replace(cohort.cases["b"], **changes)  # pyright: ignore[reportArgumentType]


def as_mr(cohort: Builder, key: str) -> None:
    """Give case b a scan twice, under another name."""
    volumes = cohort.cases["b"].volumes
    set_case(cohort, volumes={**volumes, "mr": volumes[key]})


# What is spoilt in case b, and the start of the one problem that must be found. A `!` marks what a
# single case can show, so that preparation must refuse it, too.
BLOCKS: dict[str, tuple[Callable[[Builder], object], str]] = {
    "missing file": (lambda c: file_of(c, "pet").unlink(), "!no such file: /"),
    "missing label": (
        lambda c: set_case(c, label=c.folder / "none.nii.gz"),
        "!no such file: /",
    ),
    "no NIfTI": (
        lambda c: file_of(c, "ct").write_text("text"),
        "!the file must be readable NIfTI",
    ),
    "cut off": (
        lambda c: file_of(c, "ct").write_bytes(file_of(c, "ct").read_bytes()[:5000]),
        "!the file must be readable NIfTI",
    ),
    "NaN": (
        lambda c: c.change("pet", lambda x: first(x, math.nan)),
        "!voxels must be finite numbers, found 1 NaN",
    ),
    "constant": (lambda c: c.change("pet", np.zeros_like), "!pet must not be constant, found 0"),
    "no overlap": (
        lambda c: move(c, "pet", ELSEWHERE),
        "!pet and ct must show the same place, found 0% in common, centres 1000 mm apart",
    ),
    "Bq/ml": (
        lambda c: c.change("pet", lambda x: x * 5000),
        "!pet must be in SUV, found 250.1 to 5750, median of the body 5.39e+03; "
        "this looks like Bq/ml",
    ),
    "weak Bq/ml": (lambda c: c.change("pet", lambda x: x * 100), "pet must be in SUV"),
    "HU + 1024": (lambda c: c.change("ct", lambda x: x + 1100), "ct must be in HU, found"),
    "ct in 8 bit": (lambda c: c.change("ct", lambda x: (x + 1100) / 10), "ct must be in HU"),
    "normalised ct": (lambda c: c.change("ct", lambda x: x / 1000), "ct must be in HU"),
    "absurd ct": (
        lambda c: c.change("ct", lambda x: first(x, 1e6)),
        "!ct must be in HU, between -4096 and 32767",
    ),
    "label of another shape": (
        lambda c: move(c, "label", scanner((12, 24, 27), (3, 2.5, 2.2))),
        "!the label must lie on the grid of one of the modalities, "
        "found ct: 12 x 24 x 27 and 12 x 24 x 28 voxels of 3",
    ),
    "label moved": (
        lambda c: move(c, "label", scanner((12, 24, 28), (3, 2.5, 2), (30, 40, -98.5))),
        "!the label must lie on the grid of one of the modalities, "
        "found ct: 12 x 24 x 28 and 12 x 24 x 28 voxels of 3",
    ),
    "label inverted": (
        lambda c: c.change("label", lambda x: 1 - x),
        "the label must mark nodes, not all",
    ),
    "label of fractions": (
        lambda c: c.change("label", lambda x: first(x, 0.5)),
        "!a label must hold whole numbers from 0 on, found 0.5",
    ),
    "negative label": (
        lambda c: c.change("label", lambda x: first(x, -1)),
        "!a label must hold whole numbers from 0 on, found -1",
    ),
    "unknown label value": (
        lambda c: c.change("label", lambda x: first(x, 7)),
        "label values must run from 0 on without a gap, up to 20, found 7 (no label holds 2)",
    ),
    "large label value": (
        lambda c: c.change("label", lambda x: first(x, 300)),
        "!label values must run from 0 on",
    ),
    "duplicate scan": (
        lambda c: set_case(c, volumes={**c.cases["b"].volumes, "ct": c.cases["a"].volumes["ct"]}),
        "two patients must not share a scan, found ct of a and ct of b",
    ),
    "one file twice": (
        lambda c: as_mr(c, "ct"),
        "modalities must differ, found ct of b and mr of b",
    ),
    "patient in both splits": (
        lambda c: set_case(c, patient="patient c"),
        "the cases of a patient must be in one split, found "
        "patient patient c: b in train, c in test",
    ),
}

WARNS: dict[str, tuple[Callable[[Builder], object], str]] = {
    "partial PET": (
        lambda c: move(c, "pet", scanner((9, 16, 15), (4, 4, 4), (30, 40, -85))),
        "pet should cover ct, found",
    ),
    "empty label": (
        lambda c: c.change("label", np.zeros_like),
        "the label should not be empty, found /",
    ),
    "specks": (
        lambda c: c.change("label", lambda x: first(x, 1)),
        "components of the label should have 3 voxels, found 1 of 2 are smaller",
    ),
    "windowed ct": (lambda c: c.change("ct", lambda x: x.clip(-160, 240)), "ct must be in HU"),
    "PET in kBq/ml": (lambda c: c.change("pet", lambda x: x * 12), "pet must be in SUV"),
    "PET of 0 to 1": (lambda c: c.change("pet", lambda x: x / 2), "pet must be in SUV"),
    "ringing": (
        lambda c: c.change("pet", lambda x: first(x, -0.5)),
        "pet should not be negative, found -0.5; a spline rang",
    ),
    "label in air": (
        lambda c: c.change("label", lambda x: np.roll(x, 16, 2)),
        "the label should lie in tissue, found a median of -1",
    ),
}


def test_a_sound_cohort_has_no_problem(cohort: Builder) -> None:
    report = cohort.check()
    assert report.problems == []
    assert not report.blocking
    assert report.table()[-1] == "nothing blocks"


@pytest.mark.parametrize("spoil", BLOCKS)
def test_what_would_spoil_training_blocks(cohort: Builder, spoil: str) -> None:
    BLOCKS[spoil][0](cohort)
    report = cohort.check()
    (problem,) = [problem for problem in report.problems if problem.severity == "block"]
    shown = problem.line().replace("found " + str(cohort.folder), "found /")
    assert shown.startswith(f"block b: {BLOCKS[spoil][1].removeprefix('!')}")
    assert problem.remedy
    assert report.blocking
    assert set(report.cases) == {"a", "b", "c"}


@pytest.mark.parametrize("spoil", [name for name, (_, text) in BLOCKS.items() if text[0] == "!"])
def test_preparation_refuses_what_blocks(cohort: Builder, spoil: str) -> None:
    BLOCKS[spoil][0](cohort)
    with pytest.raises(UserError, match="case b: "):
        prepare_case(cohort.cases["b"], PrepareSettings.model_validate({}))


@pytest.mark.parametrize("spoil", WARNS)
def test_what_is_odd_warns_and_can_be_prepared(cohort: Builder, spoil: str) -> None:
    WARNS[spoil][0](cohort)
    report = cohort.check()
    assert {problem.severity for problem in report.problems} == {"warn"}
    lines = [p.line().replace("found " + str(cohort.folder), "found /") for p in report.problems]
    assert any(line.startswith(f"warn  b: {WARNS[spoil][1]}") for line in lines), lines
    assert all(problem.remedy for problem in report.problems)
    assert not report.blocking
    assert cohort.check(strict=True).blocking
    prepare_case(cohort.cases["b"], PrepareSettings.model_validate({}))


def test_a_label_may_lie_on_the_grid_of_any_modality(cohort: Builder) -> None:
    label = np.zeros(PET.shape, np.uint8)
    label[3:5, 5:8, 5:8] = 1
    cohort.cases["b"] = cohort.put(cohort.cases["b"], "label", label, PET, "_pet")
    report = cohort.check()
    assert report.problems == []
    assert [report.cases[name]["reference"] for name in "abc"] == ["ct", "pet", "ct"]


def test_an_empty_label_is_no_mistake_in_a_test_case(cohort: Builder) -> None:
    cohort.change("label", np.zeros_like)
    set_case(cohort, split="test")
    assert cohort.check().problems == []


def test_a_duplicate_case_does_not_hide_the_others(cohort: Builder) -> None:
    file_of(cohort, "pet").unlink()
    path = write_manifest(
        cohort.folder / "manifest.csv", [*cohort.cases.values(), cohort.cases["a"]]
    )
    problems = [problem.line() for problem in check(path).problems]
    assert len(problems) == 2
    assert "block a: a case may stand in one row only, found lines 2 and 5" in problems[0]
    assert problems[1].startswith("block b: no such file")


def test_what_blocks_is_named_first(cohort: Builder) -> None:
    cohort.put(cohort.cases["a"], "label", np.zeros(CT.shape), CT)
    file_of(cohort, "pet").unlink()
    assert [p.case + " " + p.severity for p in cohort.check().problems] == ["b block", "a warn"]


def test_an_empty_folder_or_manifest_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("case,ct\n")
    with pytest.raises(DataError, match="must have at least one case"):
        check(tmp_path / "manifest.csv")
    with pytest.raises(DataError, match="the manifest must be a file"):
        check(tmp_path)
