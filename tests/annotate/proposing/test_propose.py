"""Proposals lie where the scan does, are more than the segmenter would say, and are never lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Tree

import numpy as np
import pytest

from hilum.annotate.formats.slicer import read_segmentation
from hilum.annotate.proposing.numbering import numbered, segments_of
from hilum.annotate.proposing.propose import propose, sensitive
from hilum.annotate.proposing.record import proposals_in
from hilum.annotate.proposing.settings import ProposalSettings
from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.manifest import read_manifest
from hilum.evaluation.metrics.nodes import node_table
from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.segmenter import Segmenter

from ..conftest import soft


def plan(folder: Path, *patients: str) -> Path:
    file = folder / "labelling.csv"
    file.write_text("patient\n" + "".join(f"{name}\n" for name in patients))
    return file


def test_a_case_has_what_every_labeller_opens(
    threshold: Segmenter, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "proposals"
    (one, two) = propose(
        soft(threshold), manifest, out, plan=plan(tmp_path, "patient_1", "patient_0")
    )
    assert (one.case, two.case) == ("case_1", "case_0")
    case = {c.id: c for c in read_manifest(manifest)}["case_1"]
    ct = read_volume(case.volumes["ct"])
    mask = read_label(one.mask_file)
    assert mask.grid.same_as(ct.grid)
    truth = read_label(case.label).array > 0
    assert (mask.array > 0)[truth].mean() > 0.95
    probability = read_volume(out / "case_1" / "case_1_probability.nii.gz")
    np.testing.assert_array_equal(mask.array > 0, (probability.array > 0.25) & (mask.array > 0))
    found = read_segmentation(out / "case_1" / "case_1.seg.nrrd")
    assert found.grid.same_as(ct.grid)
    np.testing.assert_array_equal(found.layers[0] > 0, mask.array > 0)
    assert len(found.segments) == len(one.nodes)
    assert {segment.status for segment in found.segments} == {"notstarted"}
    assert {segment.value for segment in found.segments} == {1}
    doubt = [node["uncertainty"] for node in one.nodes]
    assert doubt == sorted(doubt, reverse=True)
    for node, segment in zip(one.nodes, found.segments, strict=True):
        middle = ct.grid.to_world(np.argwhere(found.mask_of(segment)).mean(0))
        np.testing.assert_allclose(middle, node["centroid_mm"], atol=0.02)
        assert segment.name.startswith(f"{node['id']} node, ")
    page = (out / "case_1" / "case_1.html").read_text()
    assert "most doubtful first" in page
    assert proposals_in(out).keys() == {"case_0", "case_1"}
    assert proposals_in(out)["case_1"].nodes == one.nodes


def test_a_workspace_names_files_that_are_there(
    threshold: Segmenter, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "proposals"
    settings = validate(ProposalSettings, {"scans": True, "formats": ["itksnap"]})
    propose(soft(threshold), manifest, out, plan=plan(tmp_path, "patient_0"), settings=settings)
    folder = out / "case_0"
    root = Tree.parse(folder / "case_0.itksnap").getroot()
    values = {
        role: [
            layer.find("entry[@key='AbsolutePath']").attrib["value"]  # pyright: ignore
            for layer in root.findall("folder[@key='Layers']/folder")
            if layer.find("entry[@key='Role']").attrib["value"] == role  # pyright: ignore
        ]
        for role in ("MainRole", "OverlayRole", "SegmentationRole")
    }
    assert values["MainRole"] == ["case_0_ct.nii.gz"] or values["MainRole"][0].endswith("ct.nii.gz")
    files = [folder / name for names in values.values() for name in names]
    assert len(files) == 3
    assert all(file.is_file() for file in files)
    where = root.find("entry[@key='SaveLocation']")
    assert where is not None
    assert Path(where.attrib["value"]) == folder
    assert not (folder / "case_0.seg.nrrd").exists()


@pytest.mark.parametrize(
    ("own", "asked", "want"),
    [({}, {}, 0.25), ({"thresholds": (0.6,)}, {}, 0.3), ({}, {"threshold": 0.02}, 0.02)],
)
def test_the_point_is_sensitive(
    own: dict[str, object], asked: dict[str, object], want: float, threshold: Segmenter
) -> None:
    point = validate(OperatingPoint, {"min_volume_ml": 3.0, "at_most": 1, **own})
    threshold.config = threshold.config.model_copy(update={"operating_point": point})
    found = sensitive(threshold, validate(ProposalSettings, asked))
    assert found.thresholds == (want,)
    assert found.at_most is None
    assert found.min_volume_ml == 0.05


def test_a_folder_that_is_there_is_never_written_over(
    threshold: Segmenter, manifest: Path, tmp_path: Path
) -> None:
    out, chosen = tmp_path / "proposals", plan(tmp_path, "patient_0")
    propose(soft(threshold), manifest, out, plan=chosen)
    edited = out / "case_0" / "case_0.nii.gz"
    edited.write_bytes(b"mine")
    (again,) = propose(threshold, manifest, out, plan=chosen)
    assert again.case == "case_0"
    assert edited.read_bytes() == b"mine"
    settings = validate(ProposalSettings, {"threshold": 0.1})
    with pytest.raises(DataError, match="choose another --out"):
        propose(threshold, manifest, out, plan=chosen, settings=settings)
    assert edited.read_bytes() == b"mine"


BAD = {
    "tests": (("patient_4",), "no patient that tests"),
    "unknown": (("nobody",), "none called nobody"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_plan_that_cannot_be_followed_is_refused(
    bad: str, threshold: Segmenter, manifest: Path, tmp_path: Path
) -> None:
    names, message = BAD[bad]
    with pytest.raises(DataError, match=message):
        propose(threshold, manifest, tmp_path / "out", plan=plan(tmp_path, *names))
    assert not (tmp_path / "out").exists()


def test_with_all_labelled_there_is_nothing_to_propose(
    threshold: Segmenter, manifest: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="must be a case to propose for"):
        propose(threshold, manifest, tmp_path / "out")


def test_segments_say_what_they_are_and_how_sure() -> None:
    mask = np.zeros((4, 6, 6), np.uint8)
    mask[1:3, 1:4, 1:3] = 2
    (node,) = node_table(mask, Grid.from_spacing(mask.shape, (3, 2, 2)))
    sure, doubtful, unknown = segments_of(
        [replace(node, id=n, probability=p) for n, p in ((4, 0.9), (7, 0.1), (8, None))],
        ["node", "lesion"],
    )
    assert (sure.name, sure.number, sure.value) == ("4 lesion, 4 mm, p 0.90", 4, 2)
    assert sure.colour == pytest.approx((0.1, 0.79, 0.2)), "green"
    assert doubtful.colour == pytest.approx((0.9, 0.31, 0.2)), "red"
    assert unknown.colour == pytest.approx((1.0, 0.25, 0.2)), "nothing is known of it"


def test_numbers_lie_on_their_nodes_however_the_scan_is_turned() -> None:
    turned = Grid(
        (8, 10, 12), np.array([[0, 0, -1.5, 40], [0, -2, 0, 50], [3, 0, 0, -7], [0, 0, 0, 1.0]])
    )
    mask = np.zeros(turned.shape, np.uint8)
    mask[1:3, 2:5, 2:4] = 1
    mask[5:7, 6:9, 8:11] = 1
    middles = {1: (5.5, 7, 9), 2: (1.5, 3, 2.5)}
    (plain, _) = node_table(mask, Grid.from_spacing(turned.shape, (3, 2, 1.5)))
    nodes = [
        replace(plain, id=number, centroid_mm=tuple(turned.to_world(place).tolist()))
        for number, place in middles.items()
    ]
    found = numbered(mask, turned, nodes)
    np.testing.assert_array_equal(found > 0, mask > 0)
    assert (found[5:7, 6:9, 8:11] == 1).all()
    assert (found[1:3, 2:5, 2:4] == 2).all()
