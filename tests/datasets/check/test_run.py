"""A check reports on every case, in one process or several, and writes what it saw."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.check.case import check_case
from hilum.datasets.check.run import CheckReport, Problem, check
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest

GRID = Grid.from_spacing((9, 14, 16), (3, 2, 2))
REAL = Path(os.environ.get("HILUM_REAL_DATA", Path(__file__).parents[4] / "shared/data/sts_petct"))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Return a cohort of four: CT alone, the third unreadable, two of one patient."""
    cases = []
    for seed, name in enumerate(("a", "b ä", "c", "d")):
        ct = np.random.default_rng(seed).normal(0, 20, GRID.shape) - 1000
        ct[2:, 3:12, 3:12] += 1100
        path = write_volume(tmp_path / name / "ct.nii.gz", ct.astype(np.float32), GRID)
        cases.append(Case(name, "p" if name in "cd" else name, {"ct": path}))
    cases[2].volumes["ct"].write_bytes(b"nothing")
    return write_manifest(tmp_path / "manifest.csv", cases)


def test_one_bad_case_does_not_stop_the_others(manifest: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    report = check(manifest, progress=lambda *step: seen.append(step))
    assert [problem.case for problem in report.problems] == ["c"]
    assert report.cases["d"]["modalities"]["ct"]["spacing"] == [3, 2, 2]
    assert report.cases["d"]["modalities"]["ct"]["orientation"] == "SAR"
    assert seen == [(1, 4, "a"), (2, 4, "b ä"), (3, 4, "c"), (4, 4, "d")]


@pytest.mark.slow
def test_workers_find_the_same(manifest: Path) -> None:
    assert check(manifest, workers=2).as_json() == check(manifest).as_json()


def test_nothing_is_written_unless_asked(manifest: Path) -> None:
    before = sorted(manifest.parent.rglob("*"))
    assert check(manifest).files == []
    assert sorted(manifest.parent.rglob("*")) == before


def test_the_report_and_the_thumbnails_are_written(manifest: Path, tmp_path: Path) -> None:
    report = check(manifest, tmp_path / "out", strict=True)
    assert [file.name for file in report.files] == ["check.json", "thumbnails.png"]
    written = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(report.as_json()))
    assert written["problems"][0]["rule"] == "the file must be readable NIfTI"
    with Image.open(tmp_path / "out" / "thumbnails.png") as image:
        assert np.asarray(image).std() > 20
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {".hilum.json", "check.json", "thumbnails.png"}


def test_an_error_that_nobody_thought_of_is_a_problem_of_its_case(manifest: Path) -> None:
    odd = Case("a", "a", {"unheard-of": manifest.parent / "a" / "ct.nii.gz"})
    (problem,) = check_case(odd).problems
    assert (problem.severity, problem.rule) == ("block", "the case must be checkable")
    assert problem.found.startswith("SettingsError: unknown modality 'unheard-of'")


def test_the_table_names_ten_cases_of_a_rule_and_counts_the_rest() -> None:
    facts = {"patient": "p", "split": "", "labelled": True, "modalities": {"ct": {}}}
    problems = [Problem(f"c{i}", "warn", "pet should cover ct", f"{i}%", "look") for i in range(14)]
    problems.insert(0, Problem("x", "block", "must be", "is not", "mend"))
    report = CheckReport(problems, {f"c{i}": facts for i in range(14)})
    assert report.table() == [
        "block x: must be, found is not; mend",
        *(f"warn  c{i}: pet should cover ct, found {i}%; look" for i in range(10)),
        "warn  and 4 more: pet should cover ct",
        "14 cases of 1 patient (no split 14); ct 14; 14 labelled",
        "1 problem in 1 case block, 14 warnings",
    ]


@pytest.mark.parametrize(
    ("severities", "strict", "blocks"),
    [([], True, False), (["warn"], False, False), (["warn"], True, True), (["block"], False, True)],
)
def test_warnings_block_only_when_strict(severities: list, strict: bool, blocks: bool) -> None:
    problems = [Problem("a", severity, "rule") for severity in severities]
    assert CheckReport(problems, strict=strict).blocking is blocks


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real patients")
def test_real_patients_pass(tmp_path: Path) -> None:
    report = check(import_cohort("folder", REAL / "cases", tmp_path), tmp_path / "out")
    # All that there is to say: tumours were drawn on PET, and on MR where there is one, as well.
    assert {(p.severity, p.rule) for p in report.problems} == {("info", "labels of other scans")}
    assert len(report.problems) == len(report.cases) == 24
    compared = [case["label_dice"] for case in report.cases.values()]
    assert all("label_pet" in dice for dice in compared)
    assert sum("label_mr" in dice for dice in compared) == 12
    assert sum("mr" in case["modalities"] for case in report.cases.values()) == 12
    assert {case["reference"] for case in report.cases.values()} == {"ct"}
    volumes = [case["label"]["volume_ml"] for case in report.cases.values()]
    # The range that the data set states.
    assert round(min(volumes)) in range(15, 32)
    assert round(max(volumes)) in range(1950, 2340)
