"""The table of pairs and the pictures of misses, from files to the page."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest
from hilum.segmenter.assessment.evaluate import evaluate

SIDES = (10, 14, 16)
GRID = Grid.from_spacing(SIDES, (3, 2, 2))


def boxes(*corners: tuple[int, int, int]) -> np.ndarray:
    array = np.zeros(SIDES, np.uint8)
    for corner in corners:
        array[tuple(slice(c, c + 3) for c in corner)] = 1
    return array


def test_pairs_and_misses_reach_the_tables_and_the_page(tmp_path: Path) -> None:
    both, late, made = (1, 1, 1), (6, 8, 9), (6, 2, 9)
    pairs = {
        "good": (boxes(both), boxes(both)),
        "miss": (boxes(both, made), boxes(both, late)),
    }
    cases = []
    for name, (ours, truth) in pairs.items():
        pet = np.where(truth > 0, 6, 1).astype(np.float32)
        volumes = {"pet": write_volume(tmp_path / f"{name}-pet.nii.gz", pet, GRID)}
        label = write_volume(tmp_path / f"{name}-label.nii.gz", truth, GRID)
        write_volume(tmp_path / "ours" / f"{name}.nii.gz", ours, GRID)
        cases.append(Case(name, name, volumes, label))
    out = evaluate(tmp_path / "ours", write_manifest(tmp_path / "m.csv", cases), tmp_path / "o").out
    with (out / "pairs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with (out / "nodes.csv").open() as stream:
        nodes = {(n["case"], n["mask"], n["id"]): n for n in csv.DictReader(stream)}
    found = [(row["case"], bool(row["prediction"]), bool(row["reference"])) for row in rows]
    assert found == [
        ("good", True, True),
        ("miss", True, True),
        ("miss", True, False),
        ("miss", False, True),
    ]
    assert rows[0]["counted_by"] == "f1agg panoptic_quality lesion_dice"
    lost = nodes["miss", "reference", rows[3]["reference"]]
    assert lost["centroid_mm"].split() == ["20.0", "18.0", "21.0"], "w, h, d of the late node"
    kept = sorted(file.name for file in (out / "misses").iterdir())
    assert kept == ["miss.png", "pictures.json"]
    text = (out / "report.html").read_text()
    assert "miss: 1 missed, 1 false positive" in text
    assert "data:image/png;base64" in text
    assert "false positive</td>" in text
    assert "f1agg, panoptic_quality, lesion_dice" in text


def test_pictures_of_an_earlier_evaluation_go_and_what_the_user_put_there_stays(
    tmp_path: Path,
) -> None:
    truth = boxes((1, 1, 1), (6, 8, 9))
    pet = {"pet": write_volume(tmp_path / "pet.nii.gz", truth.astype(np.float32), GRID)}
    label = write_volume(tmp_path / "label.nii.gz", truth, GRID)
    manifest = write_manifest(tmp_path / "m.csv", [Case("a", "a", pet, label)])
    write_volume(tmp_path / "ours" / "a.nii.gz", boxes((1, 1, 1)), GRID)
    folder = evaluate(tmp_path / "ours", manifest, tmp_path / "o").out / "misses"
    (folder / "mine.png").write_bytes(b"mine")
    write_volume(tmp_path / "ours" / "a.nii.gz", truth, GRID)
    evaluate(tmp_path / "ours", manifest, tmp_path / "o")
    assert [file.name for file in folder.iterdir()] == ["mine.png"]
    (folder / "mine.png").unlink()
    write_volume(tmp_path / "ours" / "a.nii.gz", boxes((6, 8, 9)), GRID)
    evaluate(tmp_path / "ours", manifest, tmp_path / "o")
    assert (folder / "a.png").is_file()
    write_volume(tmp_path / "ours" / "a.nii.gz", truth, GRID)
    evaluate(tmp_path / "ours", manifest, tmp_path / "o")
    assert not folder.exists()
