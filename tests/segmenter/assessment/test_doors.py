"""Masks come in at one door: every format is read, and what cannot be meant is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nibabel
import numpy as np
import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.settings import load
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest
from hilum.evaluation.metrics import table
from hilum.evaluation.metrics.case import case_metrics
from hilum.evaluation.metrics.empty import DISTANCE, OVERLAP
from hilum.evaluation.metrics.node_record import write_nodes
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.metrics.table import METRICS, Metric
from hilum.evaluation.settings import EvaluationSettings
from hilum.segmenter.assessment.evaluate import evaluate

from ...command import hilum

SIDES = (8, 12, 10)
GRID = Grid.from_spacing(SIDES, (3, 2, 1.5), (10, 20, 30))


def node(*corner: int) -> np.ndarray:
    array = np.zeros(SIDES, np.uint8)
    array[tuple(slice(c, c + 3) for c in corner)] = 1
    return array


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Write two references and predictions that are a voxel off; a Dice of 2 / 3."""
    for name in ("a1", "b1"):
        write_volume(tmp_path / "truth" / f"{name}.nii.gz", node(2, 3, 4), GRID)
        write_volume(tmp_path / "ours" / f"{name}.nii.gz", node(2, 3, 5), GRID)
    return tmp_path


def dice(folder: Path) -> dict[str, float]:
    found = evaluate(folder / "ours", folder / "truth", folder / "out")
    return {name: numbers["dice"] for name, numbers in found.cases[1].items()}


@pytest.mark.parametrize("ending", [".mha", ".mhd", ".nrrd", ".nhdr", ".seg.nrrd", ".nii"])
@pytest.mark.parametrize("side", ["ours", "truth"])
def test_masks_of_other_formats_lie_where_they_lie(folders: Path, ending: str, side: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    file = folders / side / "a1.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(file)), str(file.with_name(f"a1{ending}")))
    file.unlink()
    assert dice(folders) == {"a1": pytest.approx(2 / 3), "b1": pytest.approx(2 / 3)}


def test_turned_axes_and_another_box_are_put_in_place(folders: Path) -> None:
    turned = Grid((10, 8, 12), GRID.affine[:, [2, 0, 1, 3]])
    write_volume(folders / "ours" / "a1.nii.gz", node(2, 3, 5).transpose(2, 0, 1), turned)
    cut = GRID.crop((1, 2, 3), (6, 8, 7))
    write_volume(folders / "ours" / "b1.nii.gz", node(2, 3, 5)[1:7, 2:10, 3:], cut)
    assert dice(folders) == {"a1": pytest.approx(2 / 3), "b1": pytest.approx(2 / 3)}
    notes = read_json(folders / "out" / "cohort.json")["notes"]
    assert [note["case"] for note in notes] == ["b1"]


def test_a_probability_map_follows_the_axes_of_its_file(folders: Path) -> None:
    for name in ("a1", "b1"):
        values = node(2, 3, 5) * np.float32(0.75)
        turned = Grid((10, 8, 12), GRID.affine[:, [2, 0, 1, 3]])
        file = folders / "ours" / f"{name}_probability.nii.gz"
        write_volume(file, values.transpose(2, 0, 1), turned)
    evaluate(folders / "ours", folders / "truth", folders / "out")
    scores = read_json(folders / "out" / "cohort.json")["scores"]
    assert scores["froc"]["sensitivity"] == [1]
    write_volume(
        folders / "ours" / "a1_probability.nii.gz", values[1:], GRID.crop((1, 0, 0), (7, 12, 10))
    )
    with pytest.raises(DataError, match=r"a1_prob.*probability must lie on the grid of the label"):
        evaluate(folders / "ours", folders / "truth", folders / "out")


def wrong(kind: str, file: Path) -> None:
    if kind == "elsewhere":
        write_volume(file, node(2, 3, 5), Grid.from_spacing(SIDES, (3, 2, 1.5), (500, 20, 30)))
    elif kind == "floats":
        write_volume(file, node(2, 3, 5) * np.float32(0.7), GRID)
    elif kind == "4D":
        array = np.zeros((*SIDES[::-1], 2), np.uint8)
        nibabel.save(nibabel.Nifti1Image(array, GRID.affine[:, [2, 1, 0, 3]]), file)
    elif kind == "outside":
        write_volume(file, node(2, 3, 5), GRID.crop((-4, 0, 0), SIDES))
    else:
        file.write_bytes(b"no image")


@pytest.mark.parametrize("side", ["ours", "truth"])
@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("elsewhere", r"must lie on the grid of the label, found x .* without one in common"),
        ("floats", "must hold whole numbers"),
        ("4D", "must have three dimensions"),
        ("damaged", "must be readable"),
    ],
)
def test_what_is_no_mask_of_the_patient_is_one_error(
    folders: Path, side: str, kind: str, rule: str
) -> None:
    wrong(kind, folders / side / "b1.nii.gz")
    with pytest.raises(DataError, match=rf"case b1.*b1\.nii\.gz: .*{rule}") as caught:
        evaluate(folders / "ours", folders / "truth", folders / "out")
    assert "\n" not in str(caught.value)
    assert not (folders / "out").exists()


def test_nodes_outside_of_the_label_are_not_lost_in_silence(folders: Path) -> None:
    wrong("outside", folders / "ours" / "b1.nii.gz")
    with pytest.raises(DataError, match=r"case b1.*must mark nothing outside of the label"):
        evaluate(folders / "ours", folders / "truth", folders / "out")


def test_segments_that_overlap_are_refused(folders: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    layers = np.zeros((*SIDES, 2), np.uint8)
    image = sitk.GetImageFromArray(layers, isVector=True)
    sitk.WriteImage(image, str(folders / "ours" / "a1.seg.nrrd"))
    (folders / "ours" / "a1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"a1\.seg\.nrrd: .*2 numbers; .*overlap"):
        evaluate(folders / "ours", folders / "truth", folders / "out")


@pytest.mark.parametrize("side", ["ours", "truth"])
def test_doubles_are_all_named(folders: Path, side: str) -> None:
    for name in ("a1", "b1"):
        (folders / side / f"{name}.mha").write_bytes(b"")
    with pytest.raises(DataError, match=r"case a1, b1.*found a1\.mha and a1\.nii\.gz"):
        evaluate(folders / "ours", folders / "truth", folders / "out")


def test_predictions_without_a_reference_are_named_and_missing_ones_refused(folders: Path) -> None:
    for name in ("z1", "z2"):
        write_volume(folders / "ours" / f"{name}.nii.gz", node(2, 3, 5), GRID)
    write_volume(folders / "ours" / "a1_probability.nii.gz", node(2, 3, 5) * np.float32(0.5), GRID)
    found = evaluate(folders / "ours", folders / "truth", folders / "out")
    assert found.unreferenced == ("z1", "z2")
    assert any("2 predictions have no reference" in x and "z1, z2" in x for x in found.lines())
    assert read_json(folders / "out" / "cohort.json")["unreferenced"] == ["z1", "z2"]
    some = evaluate(folders / "ours", folders / "truth", folders / "out", cases=["a1"])
    assert not some.unreferenced, "b1 was left out on purpose"
    for name in ("a1", "b1"):
        (folders / "ours" / f"{name}.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case a1, b1: .*must have a prediction"):
        evaluate(folders / "ours", folders / "truth", folders / "out")


def test_a_patient_of_whom_nothing_is_known_is_in_no_denominator(tmp_path: Path) -> None:
    cases, tissue = [], np.full(SIDES, 30, np.float32)
    volumes = {"ct": write_volume(tmp_path / "ct.nii.gz", tissue, GRID)}
    for name, reference in (("a", node(2, 3, 4)), ("b", node(2, 3, 4) * 0)):
        label = write_volume(tmp_path / "truth" / f"{name}.nii.gz", reference, GRID)
        cases.append(Case(name, name, volumes, label, partial=name == "b"))
        ours = node(2, 3, 4) | node(5, 8, 0)
        write_volume(tmp_path / "ours" / f"{name}.nii.gz", ours, GRID)
        write_nodes(tmp_path / "ours", name, node_table(ours, GRID, probability=ours * 0.5))
    evaluate(tmp_path / "ours", write_manifest(tmp_path / "m.csv", cases), tmp_path / "out")
    scores = read_json(tmp_path / "out" / "cohort.json")["scores"]
    assert scores["froc"]["false_positives"] == [1], "one, of the one patient who is known"
    assert scores["intervals"]["sensitivity_at_1"]["n"] == 1
    assert scores["intervals"]["sensitivity_at_1"]["value"] == 1


@pytest.mark.parametrize(
    "setting", ["tolerance_mm=-1", "tolerance_mm=nan", "tolerance_mm=far", "both_empty=0", "tol=2"]
)
def test_a_bad_value_is_one_line(setting: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(EvaluationSettings, overrides=[setting])
    assert "\n" not in str(caught.value)


def test_the_command_takes_settings_and_refuses_bad_ones(folders: Path) -> None:
    write_volume(folders / "truth" / "a1.nii.gz", node(2, 3, 4) * 0, GRID)
    write_volume(folders / "ours" / "a1.nii.gz", node(2, 3, 4) * 0, GRID)
    place = [folders / "ours", folders / "truth", "--out", folders / "out"]

    def run(*settings: str) -> subprocess.CompletedProcess[str]:
        return hilum("evaluate", *place, *settings)

    bad = run("tolerance_mm=-1")
    assert (bad.returncode, len(bad.stderr.strip().splitlines())) == (2, 1)
    assert "tolerance_mm" in bad.stderr
    good = run("tolerance_mm=1", "both_empty=nan")
    assert good.returncode == 0, good.stderr
    assert "Dice of class 1 is undefined in 1 of 2 cases" in good.stdout
    classes = read_json(folders / "out" / "cohort.json")["classes"]["1"]
    assert "nsd_1mm" in classes


def test_a_metric_of_others_follows_the_rule_that_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*masks: object) -> float:
        raise AssertionError("asked of an empty mask")

    made = {
        "mine": Metric("Mine", "", "", measure=fails, rule=OVERLAP),
        "far": Metric("Far", "", "", "lower", measure=fails, rule=DISTANCE),
        "free": Metric("Free", "", "", measure=lambda p, *_: float(p.sum())),
    }
    working = [*METRICS.working(), *made.items()]
    monkeypatch.setattr(type(table.METRICS), "working", lambda _: working)
    empty, there = np.zeros(SIDES, np.uint8), node(2, 3, 4)
    both = case_metrics(empty, empty, GRID)
    assert (both["mine"], both["free"]) == (1, 0)
    assert np.isnan(both["far"])
    missed = case_metrics(empty, there, GRID)
    assert (missed["mine"], missed["far"]) == (0, missed["hd95_mm"])
    unknown = case_metrics(empty, np.full(SIDES, 255, np.uint8), GRID)
    assert all(np.isnan(unknown[name]) for name in made)
    with pytest.raises(AssertionError, match="asked of an empty mask"):
        case_metrics(there, there, GRID)
