"""A case whose series is named gets a DICOM SEG of its proposals, and the others are told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from hilum.annotate.proposing.propose import propose
from hilum.annotate.proposing.settings import ProposalSettings
from hilum.annotate.taking.reviewed import read_reviewed
from hilum.core.case import Case
from hilum.core.settings import validate
from hilum.datasets.dicom.volume import read_slices
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import write_manifest
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
    assert any("no DICOM SEG for 1 cases" in line for line in said)
