"""Masks of any tool are measured on the grid of the label, and no case is passed over."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest
from hilum.evaluation.metrics.node_record import write_nodes
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.metrics.table import METRICS
from hilum.evaluation.settings import EvaluationSettings
from hilum.segmenter.assessment.evaluate import evaluate

SIDES: IntTriple = (12, 14, 16)
GRID = Grid.from_spacing(SIDES, (3, 2, 2), (10, 20, 30))


def mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Return boxes of 3 x 4 x 5 voxels at (d, h, w), filled with a value."""
    array = np.zeros(SIDES, np.uint8)
    for d, h, w, value in boxes:
        array[d : d + 3, h : h + 4, w : w + 5] = value
    return array


def cohort(folder: Path, pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> tuple[Path, Path]:
    """Write references and predictions; return the manifest and the folder of predictions."""
    cases = []
    for name, (prediction, reference) in pairs.items():
        pet = np.where(reference > 0, 6, 1).astype(np.float32)
        volumes = {"pet": write_volume(folder / f"{name}-pet.nii.gz", pet, GRID)}
        label = write_volume(folder / f"{name}-label.nii.gz", reference, GRID)
        write_volume(folder / "ours" / f"{name}.nii.gz", prediction, GRID)
        cases.append(Case(name, name[0], volumes, label))
    return write_manifest(folder / "manifest.csv", cases), folder / "ours"


def test_dice_equals_the_hand_computed_one(tmp_path: Path) -> None:
    shifted = mask((2, 2, 4, 1)), mask((2, 2, 2, 1))  # 3 of 5 voxels along the width in common
    perfect = mask((5, 5, 5, 1)), mask((5, 5, 5, 1))
    missed = mask(), mask((5, 5, 5, 1))
    empty = mask(), mask()
    pairs = {"a1": shifted, "b1": perfect, "c1": missed, "d1": empty}
    manifest, folder = cohort(tmp_path, pairs)
    found = evaluate(folder, manifest, tmp_path / "out")
    dice = {name: metrics["dice"] for name, metrics in found.cases[1].items()}
    assert dice == {"a1": pytest.approx(0.6), "b1": 1, "c1": 0, "d1": 1}
    assert found.cohort[1]["dice"]["value"] == pytest.approx(2.6 / 4)
    assert found.cohort[1]["dscagg"]["value"] == pytest.approx(2 * (36 + 60) / (5 * 60))
    assert found.cases[1]["a1"]["tlg_error"] == pytest.approx((-24 * 6 + 24 * 1) * 0.012)


def test_the_tables_hold_every_case_node_and_definition(tmp_path: Path) -> None:
    both = mask((1, 1, 1, 1), (7, 8, 9, 1))
    manifest, folder = cohort(tmp_path, {"a1": (mask((1, 1, 1, 1)), both), "a2": (both, both)})
    found = evaluate(folder, manifest, tmp_path / "out")
    with (tmp_path / "out" / "cases.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["patient"], row["class"]) for row in rows] == [
        ("a1", "a", "1"),
        ("a2", "a", "1"),
    ]
    assert float(rows[0]["lesion_sensitivity"]) == 0.5
    with (tmp_path / "out" / "nodes.csv").open() as stream:
        nodes = list(csv.DictReader(stream))
    kinds = [(node["case"], node["mask"]) for node in nodes]
    assert kinds.count(("a1", "prediction")) == 1
    assert kinds.count(("a1", "reference")) == 2
    assert float(nodes[0]["suv_max"]) == 6
    about = read_json(tmp_path / "out" / "cohort.json")
    assert about["cases"] == 2
    assert about["classes"]["1"]["dice"]["n"] == 1, "one patient"
    assert about["definitions"]["dice"]["empty"]
    assert any("Dice" in line for line in found.lines())


def test_unknown_voxels_count_in_neither_mask(tmp_path: Path) -> None:
    reference = mask((2, 2, 2, 1), (7, 8, 9, 255))
    prediction = mask((2, 2, 2, 1), (7, 8, 9, 1))
    manifest, folder = cohort(tmp_path, {"a1": (prediction, reference)})
    assert evaluate(folder, manifest, tmp_path / "out").cases[1]["a1"]["dice"] == 1


def test_each_class_is_measured_in_every_case(tmp_path: Path) -> None:
    pairs = {
        "a1": (mask((1, 1, 1, 2)), mask((1, 1, 1, 2))),
        "b1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 2))),
        "c1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 1))),
    }
    manifest, folder = cohort(tmp_path, pairs)
    found = evaluate(folder, manifest, tmp_path / "out")
    dice = {c: [m["dice"] for m in cases.values()] for c, cases in found.cases.items()}
    assert dice == {1: [1, 0, 1], 2: [1, 0, 1]}


def test_node_sizes_do_not_depend_on_the_orientation_of_the_file(tmp_path: Path) -> None:
    reference = mask((2, 2, 2, 1))
    manifest, folder = cohort(tmp_path / "one", {"a1": (reference, reference)})
    evaluate(folder, manifest, tmp_path / "one" / "out")
    turned = Grid((16, 12, 14), GRID.affine[:, [2, 0, 1, 3]])
    label = write_volume(tmp_path / "l.nii.gz", reference.transpose(2, 0, 1), turned)
    write_volume(tmp_path / "two" / "a1.nii.gz", reference.transpose(2, 0, 1), turned)
    pet = {"pet": tmp_path / "one" / "a1-pet.nii.gz"}
    other = write_manifest(tmp_path / "m.csv", [Case("a1", "a", pet, label)])
    evaluate(tmp_path / "two", other, tmp_path / "two" / "out")
    texts = [(tmp_path / d / "out" / "nodes.csv").read_text() for d in ("one", "two")]
    assert texts[0] == texts[1]


def test_a_missing_prediction_and_another_grid_name_the_case(tmp_path: Path) -> None:
    good = mask((1, 1, 1, 1))
    manifest, folder = cohort(tmp_path, {"a1": (good, good), "b1": (good, good)})
    (folder / "b1.nii.gz").unlink()
    with pytest.raises(DataError, match=r"case b1: .*b1\.nii\.gz: every labelled case must have"):
        evaluate(folder, manifest, tmp_path / "out")
    assert list(evaluate(folder, manifest, tmp_path / "out", cases=["a1"]).cases[1]) == ["a1"]
    write_volume(folder / "b1.nii.gz", good, GRID.crop((0, 1, 0), SIDES))
    found = evaluate(folder, manifest, tmp_path / "out")
    assert found.cases[1]["b1"]["dice"] == pytest.approx(0.75), "moved by a row of four"
    assert any("the prediction has another box than the label" in line for line in found.lines())
    write_volume(folder / "b1.nii.gz", good, Grid.from_spacing(SIDES, (3, 2, 2.2), (10, 20, 30)))
    with pytest.raises(DataError, match=r"case b1.*must lie on the grid of the label, found 12 x"):
        evaluate(folder, manifest, tmp_path / "out")
    write_volume(folder / "b1.nii.gz", good * 0.5, GRID)
    with pytest.raises(DataError, match=r"case b1.*whole numbers"):
        evaluate(folder, manifest, tmp_path / "out")


def test_rounding_in_a_header_is_forgiven(tmp_path: Path) -> None:
    good = mask((1, 1, 1, 1))
    manifest, folder = cohort(tmp_path, {"a1": (good, good)})
    affine = GRID.affine + np.array([[0, 0, 0, 0.02]] * 3 + [[0, 0, 0, 0]])
    write_volume(folder / "a1.nii.gz", good, Grid(SIDES, affine))
    assert evaluate(folder, manifest, tmp_path / "out").cases[1]["a1"]["dice"] == 1


def test_a_manifest_without_labels_or_an_unknown_case_is_an_error(tmp_path: Path) -> None:
    good = mask((1, 1, 1, 1))
    manifest, folder = cohort(tmp_path, {"a1": (good, good)})
    with pytest.raises(DataError, match=r"case zz.*must hold the case"):
        evaluate(folder, manifest, tmp_path / "out", cases=["zz"])
    pet = {"pet": tmp_path / "a1-pet.nii.gz"}
    write_manifest(tmp_path / "bare.csv", [Case("a1", "a", pet)])
    with pytest.raises(DataError, match="must have a case with a label"):
        evaluate(folder, tmp_path / "bare.csv", tmp_path / "out")


def test_a_plain_folder_of_references_gives_the_same_numbers(tmp_path: Path) -> None:
    pairs = {"a1": (mask((2, 2, 4, 1)), mask((2, 2, 2, 1))), "b1": (mask(), mask((5, 5, 5, 1)))}
    manifest, folder = cohort(tmp_path, pairs)
    for name, (_, reference) in pairs.items():
        write_volume(tmp_path / "truth" / f"{name}.nii.gz", reference, GRID)
    expected = evaluate(folder, manifest, tmp_path / "out").cases[1]
    found = evaluate(folder, tmp_path / "truth", tmp_path / "plain").cases[1]
    for name, metrics in found.items():
        own = {key: value for key, value in expected[name].items() if key in metrics}
        assert metrics == pytest.approx(own, nan_ok=True)
        assert not any("suv" in key or "tlg" in key for key in metrics)
    (tmp_path / "truth" / "c1.nii.gz").write_bytes((tmp_path / "truth/a1.nii.gz").read_bytes())
    with pytest.raises(DataError, match=r"case c1: .* must have a prediction"):
        evaluate(folder, tmp_path / "truth", tmp_path / "more")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="folder of references must hold masks"):
        evaluate(folder, tmp_path / "none", tmp_path / "more")


def test_each_site_and_the_agreement_of_volumes_are_told(tmp_path: Path) -> None:
    one = mask((2, 2, 2, 1))
    write_volume(tmp_path / "ours" / "a1.nii.gz", one, GRID)
    write_volume(tmp_path / "ours" / "b1.nii.gz", mask(), GRID)
    label = write_volume(tmp_path / "label.nii.gz", one, GRID)
    pet = {"pet": write_volume(tmp_path / "pet.nii.gz", one.astype(np.float32), GRID)}
    cases = [Case("a1", "a", pet, label, site="north"), Case("b1", "b", pet, label)]
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    evaluate(tmp_path / "ours", manifest, tmp_path / "out", by_site=True)
    about = read_json(tmp_path / "out" / "cohort.json")
    dice = {site: own["1"]["dice"]["value"] for site, own in about["sites"].items()}
    assert dice == {"north": 1, "unknown": 0}
    agreement = about["agreement"]["1"]
    assert agreement["volume_ml"]["bias"] == pytest.approx(-60 * 0.012 / 2)
    assert agreement["tlg"]["bias"] == pytest.approx(-60 * 0.012 / 2), "SUV 1"
    assert agreement["suv_peak"]["n"] == 1, "nothing is hottest in an empty mask"


def test_the_report_names_every_metric_with_its_definition_and_empty_rule(tmp_path: Path) -> None:
    both = mask((1, 1, 1, 1), (7, 8, 9, 1))
    manifest, folder = cohort(tmp_path, {"a&1": (mask((1, 1, 1, 1)), both), "b1": (both, both)})
    found = evaluate(folder, manifest, tmp_path / "out", by_site=True)
    text = (tmp_path / "out" / "report.html").read_text()
    for name in found.cohort[1]:
        metric = METRICS[name]
        assert f"{escape(metric.title)}</th>" in text
        assert escape(metric.definition) in text
        assert escape(metric.empty) in text
    assert "a&amp;1" in text
    assert "No FROC" in text
    assert "TLG" in text


@pytest.mark.parametrize("beside", ["table", "map"])
def test_scores_beside_the_masks_give_froc_and_calibration(tmp_path: Path, beside: str) -> None:
    both = mask((1, 1, 1, 1), (7, 8, 9, 1))
    pairs = {"a1": (both, mask((1, 1, 1, 1))), "b1": (mask(), mask((1, 1, 1, 1)))}
    manifest, folder = cohort(tmp_path, pairs)
    assert "scores" not in read_json(evaluate(folder, manifest, tmp_path / "o").out / "cohort.json")
    for name, (prediction, _) in pairs.items():
        # The first node is surer than the second.
        values = prediction * np.where(np.arange(SIDES[0]) < 5, 0.9, 0.6)[:, None, None]
        if beside == "map":
            write_volume(folder / f"{name}_probability.nii.gz", values.astype(np.float32), GRID)
        else:
            rows = node_table(prediction, GRID, probability=values)
            write_nodes(folder, name, rows[::-1])
    found = read_json(evaluate(folder, manifest, tmp_path / "out").out / "cohort.json")["scores"]
    assert found["froc"]["thresholds"] == pytest.approx([0.9, 0.6], abs=1e-6)
    assert found["froc"]["false_positives"] == [0, 0.5]
    assert found["froc"]["sensitivity"] == [0.5, 0.5]
    assert found["nodes"]["ece"] == pytest.approx((0.1 + 0.6) / 2, abs=1e-6)
    assert ("voxels_near_foreground" in found) == (beside == "map")
    [one] = [found["intervals"]["sensitivity_at_1"]]
    assert (one["value"], one["n"]) == (0.5, 2)
    assert found["intervals"]["average_precision"]["value"] == pytest.approx(0.5)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "FROC" in page
    assert "average precision" in page


def test_a_table_of_other_nodes_gives_no_scores(tmp_path: Path) -> None:
    manifest, folder = cohort(tmp_path, {"a1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 1)))})
    other = mask((7, 8, 9, 1))
    write_nodes(folder, "a1", node_table(other, GRID, probability=other * 0.7))
    found = read_json(evaluate(folder, manifest, tmp_path / "out").out / "cohort.json")
    assert "scores" not in found


def test_classes_that_touch_keep_their_own_uptake(tmp_path: Path) -> None:
    both = mask((1, 1, 1, 1), (4, 1, 1, 2))
    manifest, folder = cohort(tmp_path, {"a1": (both, both)})
    found = evaluate(folder, manifest, tmp_path / "out")
    for value in (1, 2):
        numbers = found.cases[value]["a1"]
        assert numbers["dice"] == 1
        assert numbers["tlg_error"] == 0
        assert numbers["tlg"] == pytest.approx(60 * 6 * 0.012)
        assert numbers["suv_max_error"] == 0
    with (tmp_path / "out" / "nodes.csv").open() as stream:
        nodes = list(csv.DictReader(stream))
    assert sorted((node["mask"], node["label"]) for node in nodes) == [
        (who, value) for who in ("prediction", "reference") for value in ("1", "2")
    ]


def test_a_predicted_node_where_nothing_is_known_counts_nowhere(tmp_path: Path) -> None:
    reference = mask((2, 2, 2, 1), (7, 8, 9, 255))
    prediction = mask((2, 2, 2, 1), (7, 8, 9, 1))
    manifest, folder = cohort(tmp_path, {"a1": (prediction, reference)})
    hot = np.where(reference == 255, 30, 2).astype(np.float32)
    write_volume(tmp_path / "a1-pet.nii.gz", hot, GRID)
    write_nodes(folder, "a1", node_table(prediction, GRID, probability=prediction * 0.8))
    found = evaluate(folder, manifest, tmp_path / "out")
    numbers = found.cases[1]["a1"]
    assert numbers["dice"] == 1
    assert numbers["suv_max"] == numbers["reference_suv_max"] == 2
    assert numbers["tlg_error"] == 0
    with (tmp_path / "out" / "nodes.csv").open() as stream:
        assert [row["mask"] for row in csv.DictReader(stream)] == ["prediction", "reference"]
    froc = read_json(tmp_path / "out" / "cohort.json")["scores"]["froc"]
    assert froc["false_positives"] == [0]


def test_a_partial_label_leaves_unmarked_tissue_unknown_as_prepare_does(tmp_path: Path) -> None:
    reference = mask((2, 2, 2, 1))
    prediction = mask((2, 2, 2, 1), (7, 2, 2, 1), (7, 8, 9, 1))
    ct = np.full(SIDES, 30, np.float32)
    ct[7:10, 8:12, 9:14] = -800  # lung: no node can be there, marked or not
    volumes = {"ct": write_volume(tmp_path / "ct.nii.gz", ct, GRID)}
    label = write_volume(tmp_path / "label.nii.gz", reference, GRID)
    write_volume(tmp_path / "ours" / "a1.nii.gz", prediction, GRID)
    found = {}
    for partial in (False, True):
        case = Case("a1", "a", volumes, label, partial=partial)
        manifest = write_manifest(tmp_path / f"{partial}.csv", [case])
        found[partial] = evaluate(tmp_path / "ours", manifest, tmp_path / "o").cases[1]["a1"]
    assert found[False]["false_positives"] == 2
    assert found[True]["false_positives"] == 1, "only the one in the lung is known to be wrong"


def test_a_prediction_that_leaves_voxels_unknown_is_refused(tmp_path: Path) -> None:
    manifest, folder = cohort(
        tmp_path, {"a1": (mask((2, 2, 2, 255), (7, 8, 9, 1)), mask((2, 2, 2, 1)))}
    )
    with pytest.raises(
        DataError,
        match=r"case a1.*255 means unknown, found 255 in 60 voxels",
    ):
        evaluate(folder, manifest, tmp_path / "out")


def test_a_class_that_a_case_has_nowhere_follows_the_rules(tmp_path: Path) -> None:
    pairs = {
        "a1": (mask((1, 1, 1, 1), (7, 8, 9, 2)), mask((1, 1, 1, 1), (7, 8, 9, 2))),
        "b1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 1))),
        "c1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 1), (7, 8, 9, 255))),
        "d1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 1), (7, 8, 9, 2))),
    }
    manifest, folder = cohort(tmp_path, pairs)
    found = evaluate(folder, manifest, tmp_path / "out")
    assert found.cases[2]["b1"]["tlg_error"] == 0
    assert found.cases[2]["b1"]["dice"] == 1
    assert np.isnan(found.cases[2]["c1"]["dice"]), "where it is unknown there may be one"
    assert np.isnan(found.cases[2]["c1"]["tlg_error"])
    about = read_json(tmp_path / "out" / "cohort.json")
    assert about["undefined"]["2"]["dice"] == 1
    assert any("class 2 is undefined in 1 of 4 cases" in line for line in found.lines())
    asked = validate(EvaluationSettings, {"both_empty": "nan", "tolerance_mm": 3})
    other = evaluate(folder, manifest, tmp_path / "out", settings=asked)
    assert np.isnan(other.cases[2]["b1"]["dice"])
    assert other.cohort[1]["nsd_3mm"]["value"] == 1
    text = (tmp_path / "out" / "report.html").read_text()
    assert "4 cases of 4 patients" in text
    [_, _, lowest] = text.split("<h2>Lowest Dice</h2>")
    order = [lowest.index(f">{case}<") for case in ("d1", "a1", "b1")]
    assert order == sorted(order), "what is undefined stands last and disturbs nothing"
    assert "NSD 3 mm" in text
    assert "overlap with\nundefined" in text


def test_masks_of_zero_and_255_are_no_perfect_segmentation(tmp_path: Path) -> None:
    manifest, folder = cohort(tmp_path, {"a1": (mask((1, 1, 1, 1)), mask((1, 1, 1, 255)))})
    with pytest.raises(DataError, match="must hold a class beside 255"):
        evaluate(folder, manifest, tmp_path / "out")


@pytest.mark.parametrize(("scale", "found"), [(100, "0 to 90"), (-3, "-2.7 to 0")])
def test_a_map_that_holds_no_probabilities_is_refused(
    tmp_path: Path, scale: float, found: str
) -> None:
    node = mask((1, 1, 1, 1))
    manifest, folder = cohort(tmp_path, {"a1": (node, node)})
    values = (node * 0.9 * scale).astype(np.float32)
    write_volume(folder / "a1_probability.nii.gz", values, GRID)
    with pytest.raises(DataError, match=rf"a1_prob.*between 0 and 1, found {found} "):
        evaluate(folder, manifest, tmp_path / "out")


def test_two_predictions_of_a_case_are_named(tmp_path: Path) -> None:
    node = mask((1, 1, 1, 1))
    manifest, folder = cohort(tmp_path, {"a1": (node, node)})
    write_volume(folder / "a1.nii", node, GRID)
    with pytest.raises(DataError, match=r"case a1.*one prediction, found a1\.nii and a1\.nii\.gz"):
        evaluate(folder, manifest, tmp_path / "out")


def test_the_case_whose_map_is_missing_is_named(tmp_path: Path) -> None:
    node = mask((1, 1, 1, 1))
    manifest, folder = cohort(tmp_path, {"a1": (node, node), "b1": (node, node)})
    write_volume(folder / "a1_probability.nii.gz", node.astype(np.float32), GRID)
    lines = evaluate(folder, manifest, tmp_path / "out").lines()
    assert any("no FROC" in line and "b1 lack" in line for line in lines)
