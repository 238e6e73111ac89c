"""LyNoS gives one class of node on CT that stays where it is, and the table of stations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.geometry import Grid
from hilum.datasets.importers.importing import import_cohort
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.manifest import read_manifest

GRID = Grid.from_spacing((3, 4, 5), (2.0, 1.0, 1.5))


def tree(root: Path) -> Path:
    nodes = np.zeros(GRID.shape, np.uint8)
    nodes[0, 1], nodes[2, 3, 1:3] = 1, 7
    for number in (1, 2, 10):
        folder = root / "LyNoS" / f"Pat{number}"
        for name in ("Azygos", "Esophagus", "SubCarArt"):
            file = folder / f"pat{number}_labels_{name}.nii.gz"
            write_volume(file, np.ones(GRID.shape, np.uint8), GRID)
        write_volume(folder / f"pat{number}_labels_LymphNodes.nii.gz", nodes, GRID)
        write_volume(folder / f"pat{number}_data.nii.gz", np.zeros(GRID.shape, np.int16), GRID)
    (root / "stations_sto.csv").write_text("a;b\n1;4R\n")
    return root


@pytest.mark.parametrize("below", ["", "LyNoS"])
def test_nodes_become_one_class_and_the_ct_stays(tmp_path: Path, below: str) -> None:
    root = tree(tmp_path / "raw")
    path = import_cohort("lynos", root / below, tmp_path / "out")
    cases = read_manifest(path)
    assert [case.id for case in cases] == ["Pat1", "Pat2", "Pat10"]
    assert cases[2].volumes == {"ct": root / "LyNoS" / "Pat10" / "pat10_data.nii.gz"}
    label = read_label(cases[0].label or "")
    assert label.array.sum() == 7
    assert label.array.max() == 1
    assert label.grid.same_as(GRID, 1e-3)
    assert not cases[0].partial, "every visible node is marked"
    assert (tmp_path / "out" / "stations.csv").read_text() == "a;b\n1;4R\n"


def test_an_organ_can_be_the_label_and_damage_stops_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path / "raw")
    (root / "stations_sto.csv").unlink()
    (root / "LyNoS" / "Pat1" / "pat1_data.nii.gz").write_bytes(b"x")
    (root / "LyNoS" / "Pat2" / "pat2_labels_Azygos.nii.gz").write_bytes(b"x")
    names = {"labels_Azygos": "label", "labels_LymphNodes": ""}
    lines: list[str] = []
    path = import_cohort("lynos", root, tmp_path / "out", names, say=lines.append)
    (case,) = read_manifest(path)
    assert (case.id, int(read_label(case.label or "").array.sum())) == ("Pat10", 60)
    assert "info: no stations_sto.csv: the stations of the nodes are not known" in lines
    assert "left out 2 of 3 cases:" in lines
    with pytest.raises(DataError, match=f"try {root / 'LyNoS'}"):
        import_cohort("lynos", root / "LyNoS" / "Pat1", tmp_path / "out")
    assert read_volume(case.volumes["ct"]).array.shape == GRID.shape
