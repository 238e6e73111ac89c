"""Nodes of regions that overlap are counted region by region, wherever a table is read."""

from __future__ import annotations

import csv
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from torch import Tensor, nn

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import read_json, write_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import write_manifest
from hilum.evaluation.settings import EvaluationSettings
from hilum.evaluation.viewer.case import describe
from hilum.evaluation.viewer.contours import contours
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.prediction.viewing import gallery
from hilum.segmenter.segmenter import Segmenter

from ...browser import CHROMIUM, Browser

GRID = Grid.from_spacing((20, 24, 28), (4.0, 4.0, 4.0))
# A core cuts the rim of its node in two; whoever counts values of the mask sees four parts of 5.
REGIONS = {"whole": (5, 3), "core": (3,)}
ORDER = (5, 3)
BOTH = np.ones((3, 3, 3))


class Levels(nn.Module):
    """Sees the whole where SUV is above 2, and its core where it is above 6."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(30.0))
        self.encoders = nn.ModuleDict()

    def forward(self, volumes: dict[str, Tensor], available: Tensor) -> list[Tensor]:
        suv = volumes["pet"]
        above = [(suv - float(np.log1p(level))) * self.scale for level in (2, 6)]
        return [torch.cat([torch.zeros_like(suv), *above], 1)]


@pytest.fixture
def segmenter(config: Callable[..., SegmenterConfig]) -> Segmenter:
    about = {"classes": 3, "names": tuple(REGIONS), "regions": REGIONS}
    model = Segmenter(config(**about, regions_class_order=ORDER))
    model.strategy = Levels()  # pyright: ignore[reportAttributeAccessIssue]
    return model.eval()


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """Return a bar whose hot middle cuts it, a warm node, and a node that is all core."""
    pet = np.ones(GRID.shape, np.float32)
    pet[8:11, 10:13, 6:18] = 4
    pet[8:11, 10:13, 10:13] = 9
    pet[14:17, 4:7, 20:23] = 4
    pet[3:5, 18:20, 4:6] = 11
    ct = np.full(GRID.shape, 30, np.float32)
    ct[:, 0] = -1000
    files = {
        "ct": write_volume(tmp_path / "raw" / "ct.nii.gz", ct, GRID),
        "pet": write_volume(tmp_path / "raw" / "pet.nii.gz", pet, GRID),
    }
    label = np.where(pet > 6, 3, np.where(pet > 2, 5, 0)).astype(np.uint8)
    return Case("a", "p", files, write_volume(tmp_path / "raw" / "label.nii.gz", label, GRID))


def counted(mask: np.ndarray, values: tuple[int, ...]) -> list[float]:
    """Return the volumes of the components of a region, the largest first, by SciPy."""
    parts, _ = ndimage.label(np.isin(mask, values), BOTH)  # pyright: ignore[reportGeneralTypeIssues]
    return sorted((np.bincount(parts.ravel())[1:] * 0.064).tolist(), reverse=True)


@pytest.fixture
def out(segmenter: Segmenter, case: Case, tmp_path: Path) -> Path:
    manifest = write_manifest(tmp_path / "manifest.csv", [case])
    predict(segmenter, manifest, tmp_path / "out", precision="32")
    return tmp_path / "out"


def test_the_table_counts_components_of_each_region(out: Path) -> None:
    mask = read_label(out / "a.nii.gz").array
    assert len(counted(mask, (5,))) == 3  # as values: the rim's two ends are parts of their own
    rows = read_json(out / "a_nodes.json")
    report = read_json(out / "a_report.json")
    for number, (name, values) in enumerate(REGIONS.items(), 1):
        own = [row for row in rows if row["region"] == name]
        expected = counted(mask, values)
        assert_allclose([row["volume_ml"] for row in own], expected)
        assert {row["label"] for row in own} == {number}
        assert report["n_features"][name]["nodes"] == len(expected)
        assert report["n_features"][name]["total_volume_ml"] == pytest.approx(sum(expected))
    assert [len(counted(mask, v)) for v in REGIONS.values()] == [3, 2]
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    # The bar's own probability of being core is low at its ends, that of the whole is not.
    assert rows[0]["probability"] > 0.95
    with (out / "a_nodes.csv").open() as stream:
        assert [row["region"] for row in csv.DictReader(stream)] == ["whole"] * 3 + ["core"] * 2
    page = (out / "a.html").read_text()
    assert ">region<" in page
    assert "each region above 0.5" in page
    assert "most probable class" not in page
    assert read_json(out / "summary.json")["cases"]["a"]["nodes"] == 5


def test_probabilities_of_a_region_are_its_own(
    segmenter: Segmenter, case: Case, tmp_path: Path
) -> None:
    """Pale core: 0.62 where the whole is sure."""
    segmenter.strategy.scale.data[...] = 2.0  # pyright: ignore[reportAttributeAccessIssue, reportIndexIssue]
    found = segmenter(**{name: str(file) for name, file in case.volumes.items()})
    core = [node for node in found.nodes if node.region == "core"]
    hot = next(node for node in core if node.volume_ml > 1)
    logit = 2 * (np.log1p(9) - np.log1p(6))
    assert hot.probability_max == pytest.approx(1 / (1 + np.exp(-logit)), abs=0.01)
    assert len(core) == 2


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_reader_sees_which_region_a_node_is_of(out: Path, browse: Callable[..., Browser]) -> None:
    page = browse(out)
    drawn = "document.body?.dataset.drawn"
    page.wait(drawn, "0/9")
    rows = "[...document.querySelectorAll('#nodes tbody tr')]"
    listed = page.value(f"{rows}.map(r => r.cells[1].textContent).join()")
    assert listed == "whole,whole,whole,core,core"
    colours = page.value(
        "[...document.querySelectorAll('#legend .swatch')].map(s => s.style.background).join(';')"
    )
    assert colours == "rgb(230, 159, 0);rgb(230, 159, 0)", "both regions are of the prediction"
    # Width of what is drawn in the blue of the chosen node, in voxels of 28.
    width = (
        "(c => {const w = c.width, h = c.height, p = c.getContext('2d').getImageData(0,0,w,h).data;"
        "const x = []; for (let i = 0; i < w * h; i++)"
        " if (p[4*i+2] > p[4*i] + 80) x.push(i % w);"
        "return x.length ? (Math.max(...x) - Math.min(...x)) / w * 28 : 0})"
        "(document.querySelector('canvas'))"
    )
    page.press("z")
    for node, voxels in (("1", 12), ("4", 3)):
        page.click(f"tr[data-node='{node}']")
        page.wait(drawn, "0/9")
        until = time.monotonic() + 20
        while abs(page.value(width) - voxels) > 0.5:
            assert time.monotonic() < until, (node, page.value(width))
            time.sleep(0.05)


def test_the_viewer_lists_and_draws_each_region(out: Path, case: Case, tmp_path: Path) -> None:
    found = gallery(out)
    assert found.about["a"] == "3 whole, 2 core"
    shown = found.open(0)
    assert list(shown.marked) == ["prediction: whole", "prediction: core"]
    assert [node.row for node in shown.nodes] == read_json(out / "a_nodes.json")
    lines = contours(shown, 9)
    # The bar is one outline of the whole, number 1, and its middle one of the core.
    assert set(lines["prediction: whole"]) == {"1"}
    mask = read_label(out / "a.nii.gz").array
    for name, values in REGIONS.items():
        marked = shown.marked[f"prediction: {name}"]
        assert (marked.labels > 0).sum() == np.isin(mask, values).sum()
        numbers = {node.id for node in shown.nodes if node.region == name}
        assert set(np.unique(marked.labels).tolist()) - {0} == numbers
    # Next to a reference without the warm node's region, matches are within a region.
    label = read_label(case.label, "a")  # pyright: ignore[reportArgumentType]
    other = label.array.copy()
    other[14:17] = 0
    other[3:5, 18:20, 4:6] = 5
    other[0:2, 0:2, 0:2] = 3
    file = write_volume(tmp_path / "raw" / "other.nii.gz", other, GRID)
    manifest = write_manifest(tmp_path / "other.csv", [replace(case, label=file)])
    about: Any = describe(gallery(out, manifest).open(0))
    rows = [(row["id"], row.get("region"), row["reference"])
            for row in about["nodes"]]  # fmt: skip
    assert rows[:5] == [
        (1, "whole", "R1"), (2, "whole", "none"), (3, "whole", "R3"),
        (4, "core", "R4"), (5, "core", "none"),
    ]  # fmt: skip
    assert [row[0] for row in rows[5:]] == ["R2", "R5"]


def test_an_evaluation_measures_the_regions_of_the_masks(
    out: Path, case: Case, tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path / "manifest2.csv", [case])
    found = evaluate(out, manifest, tmp_path / "eval")
    assert list(found.cases)[-2:] == ["whole", "core"]
    assert found.cases["whole"]["a"]["dice"] == 1
    assert found.cases["core"]["a"]["lesion_sensitivity"] == 1
    assert any("regions" in line and "whole, core" in line for line in found.lines())
    with (tmp_path / "eval" / "nodes.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["mask"] == "prediction"]
    mask = read_label(out / "a.nii.gz").array
    for name, values in REGIONS.items():
        volumes = [float(row["volume_ml"]) for row in rows if row["region"] == name]
        assert_allclose(volumes, counted(mask, values))
    # Scores are of the union of all regions, each with the highest probability in it.
    scores = read_json(tmp_path / "eval" / "cohort.json")["scores"]
    assert sum(scores["nodes"]["count"]) == len(counted(mask, (3, 5)))
    assert scores["froc"]["sensitivity"][-1] == 1
    assert scores["froc"]["false_positives"] == [0] * len(scores["froc"]["false_positives"])
    table = read_json(out / "a_nodes.json")
    best = sorted(row["probability_max"] for row in table if row["region"] == "whole")
    assert min(scores["froc"]["thresholds"]) == pytest.approx(best[0])
    assert found.unscored == ()


def test_a_damaged_report_is_one_clear_line(out: Path, case: Case, tmp_path: Path) -> None:
    about = read_json(out / "a_report.json")
    write_json(out / "a_report.json", about | {"regions": {"core": [3], "whole": [3]}})
    with pytest.raises(DataError, match="regions of a report"):
        evaluate(out, write_manifest(tmp_path / "m.csv", [case]), tmp_path / "eval")
    # Two segmenters' masks in one folder, of which neither's regions hold for all.
    shutil.copy(out / "a.nii.gz", out / "b.nii.gz")
    write_json(out / "a_report.json", about)
    other = {"regions": {"all": [3, 5]}, "regions_class_order": [3]}
    write_json(out / "b_report.json", about | other)
    both = write_manifest(tmp_path / "both.csv", [case, replace(case, id="b", patient="q")])
    with pytest.raises(DataError, match="must have the same regions"):
        evaluate(out, both, tmp_path / "eval")
    asked = validate(EvaluationSettings, {"regions": {"any": [3, 5]}})
    found = evaluate(out, both, tmp_path / "eval", settings=asked)
    assert [name for name in found.cases if isinstance(name, str)] == ["any"]
