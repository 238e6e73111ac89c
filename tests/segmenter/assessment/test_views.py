"""Regions, numbered nodes, stations, node status and several processes, from files to tables."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.cli.evaluate import evaluate as command
from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.evaluation.metrics.surface import surface_metrics
from hilum.evaluation.settings import EvaluationSettings
from hilum.segmenter.assessment.evaluate import evaluate

SIDES: IntTriple = (10, 14, 16)
GRID = Grid.from_spacing(SIDES, (3, 2, 2), (5, 6, 7))


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    """Return boxes of 3 x 3 x 3 voxels at (d, h, w), filled with a value."""
    array = np.zeros(SIDES, np.uint8)
    for d, h, w, value in corners:
        array[d : d + 3, h : h + 3, w : w + 3] = value
    return array


def cohort(
    folder: Path, pairs: Mapping[str, tuple[np.ndarray, ...]], anatomy: Path | None = None
) -> Path:
    cases = []
    for name, (ours, truth) in pairs.items():
        label = write_volume(folder / f"{name}-label.nii.gz", truth, GRID)
        pet = np.where(truth > 0, 6, 1).astype(np.float32)
        pet[:, :, SIDES[2] // 2 :] *= 2
        volumes = {"pet": write_volume(folder / f"{name}-pet.nii.gz", pet, GRID)}
        write_volume(folder / "ours" / f"{name}.nii.gz", ours, GRID)
        cases.append(Case(name, name[0], volumes, label, anatomy=anatomy))
    return write_manifest(folder / "m.csv", cases)


def asked(**values: object) -> EvaluationSettings:
    return validate(EvaluationSettings, values)


def rows(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def test_a_region_is_measured_as_the_class_of_its_union(tmp_path: Path) -> None:
    # Two classes that touch are two nodes, and one of the region; a swap matters to classes only.
    truth = boxes((1, 1, 1, 1), (1, 1, 4, 2), (6, 8, 9, 2))
    ours = boxes((1, 1, 1, 2), (1, 1, 4, 1), (6, 8, 10, 2))
    late = boxes((6, 8, 9, 255))
    pairs = {"a1": (ours, truth), "b1": (boxes((1, 1, 1, 2)), boxes((1, 1, 1, 1)) + late)}
    manifest = cohort(tmp_path, pairs)
    out = tmp_path / "out"
    found = evaluate(
        tmp_path / "ours", manifest, out, settings=asked(regions={"GTV": [1, 2], "GTVn": [2]})
    )
    union = {
        name: tuple(np.where((mask > 0) & (mask < 255), 1, mask) for mask in both)
        for name, both in pairs.items()
    }
    alone = cohort(tmp_path / "alone", union)
    want = evaluate(tmp_path / "alone" / "ours", alone, tmp_path / "one")
    assert list(found.cases) == [1, 2, "GTV", "GTVn"]
    for name in pairs:
        assert found.cases["GTV"][name] == pytest.approx(want.cases[1][name], nan_ok=True)
        assert found.cases["GTVn"][name] == pytest.approx(found.cases[2][name], nan_ok=True)
    assert found.cohort["GTV"]["dscagg"] == want.cohort[1]["dscagg"]
    assert found.cases[1]["a1"]["dice"] == 0
    assert found.cases["GTV"]["a1"]["lesion_tp"] == 2
    classes = [row["class"] for row in rows(out / "cases.csv") if row["case"] == "a1"]
    assert classes == ["1", "2", "GTV", "GTVn"]
    regions = [row["region"] for row in rows(out / "nodes.csv") if row["mask"] == "reference"]
    assert regions.count("GTV") == 3
    assert regions.count("") == 4
    assert {row["class"] for row in rows(out / "pairs.csv")} == {"1", "2", "GTV", "GTVn"}
    page = (out / "report.html").read_text()
    assert "<h1>Region GTV</h1>" in page
    assert any(line.startswith("GTV: ") for line in found.lines())


def test_numbered_nodes_that_touch_are_apart(tmp_path: Path) -> None:
    """Two nodes side by side are found as two, and each has the whole of its own surface."""
    truth = boxes((1, 1, 1, 1), (1, 1, 4, 2), (6, 8, 9, 3))
    ours = boxes((1, 1, 1, 7), (1, 2, 4, 2))
    manifest = cohort(tmp_path, {"a1": (ours, truth)})
    found = evaluate(
        tmp_path / "ours", manifest, tmp_path / "out", settings=asked(instances="both")
    )
    assert list(found.cases) == [1]
    numbers = found.cases[1]["a1"]
    assert [numbers[f"lesion_{key}"] for key in ("tp", "fp", "fn")] == [2, 0, 1]
    assert (numbers["nodes"], numbers["reference_nodes"]) == (2, 3)
    ious = 1, 18 / 36
    diagonal = math.dist((0, 0, 0), GRID.extent_mm)
    surface = surface_metrics(ours == 2, truth == 2, GRID)
    assert numbers["lesion_hd95_mm"] == pytest.approx((0 + surface["hd95_mm"] + diagonal) / 3)
    assert numbers["lesion_nsd_2mm"] == pytest.approx((1 + surface["nsd_2mm"]) / 3)
    assert numbers["panoptic_quality"] == pytest.approx(1 / (1 + (1 + 2) / 2)), "0.5 is not above"
    pairs = rows(tmp_path / "out" / "pairs.csv")
    assert sorted(float(row["iou"]) for row in pairs if row["iou"]) == pytest.approx(sorted(ious))
    # As components the three are two, and the union of the touching ones is found.
    merged = {"a1": tuple((mask > 0).astype(np.uint8) for mask in (ours, truth))}
    again = evaluate(
        tmp_path / "x" / "ours", cohort(tmp_path / "x", merged), tmp_path / "out2"
    ).cases[1]["a1"]
    assert (again["nodes"], again["reference_nodes"]) == (1, 2)
    for key in ("dice", "hd95_mm", "masd_mm", "nsd_2mm", "tlg", "volume_error_ml"):
        assert numbers[key] == pytest.approx(again[key]), key


@pytest.mark.parametrize(
    ("instances", "nodes", "reference"),
    [("prediction", 2, 1), ("reference", 1, 2), ("both", 2, 2)],
)
def test_either_mask_may_number_its_nodes(
    tmp_path: Path, instances: str, nodes: int, reference: int
) -> None:
    touching = boxes((1, 1, 1, 1), (1, 1, 4, 2))
    manifest = cohort(tmp_path, {"a1": (touching, touching)})
    found = evaluate(
        tmp_path / "ours", manifest, tmp_path / "out", settings=asked(instances=instances)
    )
    numbers = found.cases[1]["a1"]
    assert (numbers["nodes"], numbers["reference_nodes"]) == (nodes, reference)
    assert numbers["dice"] == 1


def test_nodes_numbered_past_255_are_refused(tmp_path: Path) -> None:
    truth = np.zeros(SIDES, np.int16)
    truth[1:3, 1:3, 1:3], truth[5:7, 5:7, 5:7] = 1, 256
    manifest = cohort(tmp_path, {"a1": (boxes((1, 1, 1, 1)), truth)})
    with pytest.raises(DataError, match=r"case a1.*from 1 to 254.*found 256"):
        evaluate(
            tmp_path / "ours", manifest, tmp_path / "out", settings=asked(instances="reference")
        )


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"regions": {"GTV": [1, 255]}}, "regions.GTV.1.*less than 255"),
        ({"regions": {"GTV": []}}, "region GTV must have a class"),
        ({"regions": {"2": [1]}}, "a name that is no number"),
        ({"regions": {"GTV": [1]}, "instances": "both"}, "regions need classes"),
        ({"instances": "all"}, "instances"),
        ({"positive_mm": 0}, "positive_mm"),
    ],
)
def test_settings_that_mean_nothing_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        asked(**values)


def test_stations_come_from_a_folder_or_from_the_manifest(tmp_path: Path) -> None:
    truth = boxes((1, 1, 1, 1), (6, 8, 9, 1))
    ours = boxes((1, 1, 1, 1), (6, 2, 11, 1))
    places = np.zeros(SIDES, np.uint8)
    places[:, :, :8], places[:, :, 8:] = 4, 7
    mask = write_volume(tmp_path / "places" / "a1.nii.gz", places, GRID)
    (tmp_path / "places" / "names.json").write_text(json.dumps({"4": "4R", "7": "7"}))
    manifest = cohort(tmp_path, {"a1": (ours, truth)}, anatomy=mask)
    texts = []
    for stations in ("anatomy", str(tmp_path / "places")):
        out = evaluate(
            tmp_path / "ours", manifest, tmp_path / "out", settings=asked(stations=stations)
        ).out
        texts.append((out / "stations.csv").read_text())
    assert texts[0] == texts[1]
    found = {row["station"]: row for row in rows(tmp_path / "out" / "stations.csv")}
    assert {name: float(row["lesion_tp"]) for name, row in found.items()} == {"4R": 1, "7": 0}
    assert (float(found["7"]["lesion_fn"]), float(found["7"]["lesion_fp"])) == (1, 1)
    about = read_json(tmp_path / "out" / "cohort.json")["stations"]["1"]
    assert about["4R"]["lesion_sensitivity"]["value"] == 1
    assert {row["station"] for row in rows(tmp_path / "out" / "nodes.csv")} == {"4R", "7"}
    assert "<h2>Stations</h2>" in (tmp_path / "out" / "report.html").read_text()
    evaluate(tmp_path / "ours", manifest, tmp_path / "out")
    assert not (tmp_path / "out" / "stations.csv").exists(), "of the earlier evaluation"
    bare = cohort(tmp_path / "bare", {"b1": (ours, truth)})
    for stations, words in (("anatomy", "column anatomy"), (str(mask.parent), "one of every case")):
        with pytest.raises(DataError, match=f"case b1.*{words}|{words}.*"):
            evaluate(
                tmp_path / "bare" / "ours",
                bare,
                tmp_path / "no",
                settings=asked(stations=stations),
            )


def test_node_status_and_agreement_of_counts_reach_json_and_page(tmp_path: Path) -> None:
    small, large = (1, 1, 1, 1), (6, 8, 2, 1)
    big = boxes(small) | np.pad(np.ones((3, 6, 6), np.uint8), ((6, 1), (7, 1), (8, 2)))
    pairs = {
        "a1": (big, big),
        "b1": (boxes(small), big),
        "c1": (big, boxes(small)),
        "d1": (boxes(), boxes(small, large)),
        "e1": (boxes(), boxes()),
    }
    manifest = cohort(tmp_path, pairs)
    found = evaluate(tmp_path / "ours", manifest, tmp_path / "o", settings=asked(positive_mm=8))
    about = read_json(tmp_path / "o" / "cohort.json")
    status = about["node_status"]
    assert "8 mm" in status["positive"]
    four = [status["classes"]["1"][key] for key in ("tp", "fp", "fn", "tn")]
    assert four == [1, 1, 1, 2]
    assert any("N status" in line and "right in 3 of 5" in line for line in found.lines())
    agreement = about["agreement"]["1"]
    differences = [0, -1, 1, -2, 0]
    assert agreement["nodes"]["bias"] == pytest.approx(np.mean(differences))
    assert agreement["nodes"]["n"] == 5
    assert agreement["max_short_axis_mm"]["n"] == 3, "where both masks have a node"
    page = (tmp_path / "o" / "report.html").read_text()
    for words in ("Node status of patients", "number of nodes", "largest short axis", "kappa"):
        assert words in page
    hot = evaluate(tmp_path / "ours", manifest, tmp_path / "p", settings=asked(positive_suv=8))
    four = [hot.status[1][key] for key in ("tp", "fp", "fn", "tn")]
    assert four == [1, 0, 1, 3], "SUV 12 in the hot half, 6 elsewhere"
    plain = tmp_path / "plain"
    for name, (_, truth) in pairs.items():
        write_volume(plain / f"{name}.nii.gz", truth, GRID)
    with pytest.raises(DataError, match="positive_suv needs the PET of every case"):
        evaluate(tmp_path / "ours", plain, tmp_path / "q", settings=asked(positive_suv=8))


def test_other_processes_give_the_same_bytes_and_the_command_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All cases go to one process of the two: each imports for longer than the rest takes."""
    asked_for = []

    def one_process(workers: int, **more: Any) -> ProcessPoolExecutor:
        asked_for.append(workers)
        return ProcessPoolExecutor(1, **more)

    monkeypatch.setattr("hilum.core.spread.ProcessPoolExecutor", one_process)
    pairs = {
        "a1": (boxes((1, 1, 1, 1)), boxes((1, 1, 2, 1), (6, 8, 9, 2))),
        "b1": (boxes((1, 2, 1, 1)), boxes((1, 1, 2, 1))),
        "c1": (boxes(), boxes((1, 1, 2, 1))),
    }
    manifest = cohort(tmp_path, pairs)
    settings = asked(regions={"all": [1, 2]})
    evaluate(tmp_path / "ours", manifest, tmp_path / "one", settings=settings)
    command(
        tmp_path / "ours",
        str(manifest),
        tmp_path / "two",
        workers=2,
        settings=["regions={all: [1, 2]}"],
    )
    assert asked_for == [2], "and the first took none"
    files = [f.relative_to(tmp_path / "one") for f in (tmp_path / "one").rglob("*") if f.is_file()]
    assert len(files) >= 6
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_region_with_a_class_that_nobody_looked_for_is_left_out_of_the_case(
    tmp_path: Path,
) -> None:
    truth = boxes((1, 1, 1, 1), (6, 8, 9, 2))
    manifest = cohort(tmp_path, {"a1": (truth, truth), "b1": (truth, boxes((1, 1, 1, 1)))})
    cases = [
        replace(case, annotated=(1,)) if case.id == "b1" else case
        for case in read_manifest(manifest)
    ]
    some = write_manifest(tmp_path / "some.csv", cases)
    settings = asked(regions={"all": [1, 2], "one": [1]})
    found = evaluate(tmp_path / "ours", some, tmp_path / "out", settings=settings)
    names = {target: list(own) for target, own in found.cases.items()}
    assert names == {1: ["a1", "b1"], 2: ["a1"], "all": ["a1"], "one": ["a1", "b1"]}
    assert found.cases["one"]["b1"]["false_positives"] == 0, "class 2 is neither right nor wrong"
