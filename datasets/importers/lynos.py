"""Import LyNoS: 15 contrast CT of the chest with every visible node, organs, and node stations.

`LyNoS/PatN/patN_{data,labels_LymphNodes,labels_Azygos,labels_Esophagus,labels_SubCarArt}.nii.gz`,
in it or next to it `stations_sto.csv`; the node mask numbers each node.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import atomic_path
from hilum.core.notes import Note

from ..conversion import Conversion, convert, folder_of
from ..io.nifti import read_label, write_volume
from ..source import Imported, LeftOut, Source, find_root, folders, scans_in, volumes_of

WORDS = {"data": "ct", "labels_lymphnodes": "label"}
STATIONS = "stations_sto.csv"
_EXPECTED = "Pat1/pat1_data.nii.gz"


def import_lynos(source: Source) -> Imported:
    """Read the CT in place and write one class of node.

    The numbers of the nodes stay in the original mask; the table that gives the stations of each is
    copied to `stations.csv` next to the manifest. `--name labels_azygos=label --name
    labels_lymphnodes=` takes an organ instead.
    """
    root = find_root(source.root, lambda path: bool(_patients(path)), _EXPECTED)
    words = source.words(WORDS)
    found, conversions = Imported(), []
    for folder in _patients(root):
        try:
            files = {s.partition("_")[2]: f for s, f in scans_in(folder).items()}
            volumes, label = volumes_of(files, words, folder.name)
        except DataError as error:
            found.left_out.append(LeftOut(folder.name, str(error)))
            continue
        case = Case(folder.name, folder.name, volumes)
        if label is None:
            found.cases.append(case)
            continue
        new = folder_of(source, case.id) / "label.nii.gz"
        case = Case(case.id, case.id, volumes, new)
        conversions.append(Conversion(case, (label,), partial(_write, case.id, label)))
    convert(source, conversions, found)
    _copy_stations(root, source, found)
    return found.raise_if_empty(_EXPECTED, root)


def _patients(path: Path) -> list[Path]:
    """Return the folders of patients, 2 before 10."""
    found = [f for f in folders(path) if f.name.lower().startswith("pat") and f.name[3:].isdigit()]
    return sorted(found, key=lambda folder: int(folder.name[3:]))


def _write(case: str, file: Path, folder: Path) -> None:
    label = read_label(file, case)
    write_volume(folder / "label.nii.gz", (label.array > 0).astype(np.uint8), label.grid)


def _copy_stations(root: Path, source: Source, found: Imported) -> None:
    for table in (root / STATIONS, root.absolute().parent / STATIONS):
        if table.is_file():
            with atomic_path(source.out / "stations.csv") as part:
                shutil.copyfile(table, part)
            text = f"stations of each node: {source.out / 'stations.csv'}"
            found.notes.append(Note("info", "stations", text))
            return
    text = f"no {STATIONS}: the stations of the nodes are not known"
    found.notes.append(Note("info", "stations", text))
