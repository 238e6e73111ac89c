"""A case whose series is named gets a DICOM SEG of its proposals, and the others are told."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.annotate.proposing.propose import propose
from hilum.annotate.proposing.series import Origin, origin_of
from hilum.annotate.proposing.settings import ProposalSettings
from hilum.annotate.taking.reviewed import read_reviewed
from hilum.core.case import Case
from hilum.core.errors import UserError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.dicom.headers import crawl
from hilum.datasets.dicom.volume import read_slices
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.segmenter.segmenter import Segmenter

from ..conftest import soft

sys.path.insert(0, str(Path(__file__).parents[2] / "exchange" / "dicom_out"))

import dicom_ct


def test_a_seg_on_the_named_series_holds_the_proposals(
    threshold: Segmenter, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    dicom_ct.write_ct(tmp_path / "series")
    scan = read_slices(sorted((tmp_path / "series").glob("*.dcm")))
    cases = []
    for name in ("a", "b"):
        array = np.full(scan.array.shape, 30, np.float32)
        array[2:4, 3:7, 4:9] = 90
        file = write_volume(tmp_path / name / "ct.nii.gz", array, scan.grid)
        cases.append(Case(name, name, {"ct": file}))
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    settings = validate(ProposalSettings, {"threshold": 0.5, "formats": ["dicom"]})
    said: list[str] = []
    one, other = propose(
        soft(threshold),
        manifest,
        tmp_path / "out",
        dicom={"a": tmp_path / "series"},
        settings=settings,
        say=said.append,
    )
    mask = read_label(one.mask_file).array
    assert mask.any()
    found = read_reviewed(one.folder / "a.dcm", one)
    np.testing.assert_array_equal(found.mask, mask)
    assert not (other.folder / "b.dcm").exists()
    assert any("no DICOM SEG for 1 cases" in line and "--dicom b=" in line for line in said)


def test_the_series_of_an_imported_case_is_found_by_itself(
    threshold: Segmenter, tmp_path: Path
) -> None:
    pytest.importorskip("highdicom")
    archive = tmp_path / "archive"
    dicom_ct.write_ct(archive / "one")
    manifest = import_cohort("dicom", archive, tmp_path / "work", say=None)
    [case] = read_manifest(manifest)
    uid = next(iter(crawl(archive).headers))["SeriesInstanceUID"]
    assert origin_of(case, "ct") == Origin(archive / "one", uid)
    array = np.full(read_volume(case.volumes["ct"], case.id).array.shape, 30, np.float32)
    array[2:4, 3:7, 4:9] = 90
    write_volume(case.volumes["ct"], array, read_volume(case.volumes["ct"], case.id).grid)
    settings = validate(ProposalSettings, {"threshold": 0.5, "formats": ["dicom"]})
    said: list[str] = []
    words = {"settings": settings, "say": said.append}
    [found] = propose(soft(threshold), manifest, tmp_path / "out", **words)
    mask = read_label(found.mask_file).array
    assert mask.any()
    np.testing.assert_array_equal(read_reviewed(found.folder / f"{case.id}.dcm", found).mask, mask)
    assert not any("no DICOM SEG" in line for line in said)
    shutil.move(archive, tmp_path / "moved")
    assert origin_of(case, "ct") is None
    propose(soft(threshold), manifest, tmp_path / "again", **words)
    assert any("no DICOM SEG for 1 cases" in line for line in said)


@pytest.mark.parametrize(
    ("name", "formats", "words"),
    [
        ("a", ["slicer"], r"add formats=\[slicer,itksnap,dicom\]"),
        ("case_12", ["dicom"], "must name a case that gets proposals.*did you mean 'case_1'"),
    ],
)
def test_a_series_of_no_use_is_refused(
    threshold: Segmenter, tmp_path: Path, name: str, formats: list[str], words: str
) -> None:
    grid = Grid.from_spacing((4, 4, 4), (3, 2, 2))
    scan = write_volume(tmp_path / "ct.nii.gz", np.zeros((4, 4, 4), np.float32), grid)
    cases = [Case(one, one, {"ct": scan}) for one in ("a", "case_1")]
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    settings = validate(ProposalSettings, {"formats": formats})
    with pytest.raises(UserError, match=words):
        propose(
            soft(threshold), manifest, tmp_path / "o", dicom={name: tmp_path}, settings=settings
        )
    assert not (tmp_path / "o").exists()
