"""One row of a node table: every column with its unit, declared once."""

# A column is frozen: sharing it between instances is what is meant.
# ruff: noqa: RUF009

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from hilum.core.errors import DataError
from hilum.core.files import read_json, write_json, write_text
from hilum.core.geometry import Triple


@dataclass(frozen=True)
class Column:
    """How a value of a node is written and shown.

    Attributes:
        name: Of the column in CSV and JSON; the unit is its ending, where there is one.
        title: Heading of a page.
        unit: Empty if it has none.
        digits: After the point, on a page.
        meaning: What it is.
    """

    name: str
    title: str
    unit: str
    digits: int
    meaning: str

    @property
    def heading(self) -> str:
        """Title with the unit."""
        return f"{self.title}, {self.unit}" if self.unit else self.title


def _column(
    title: str,
    unit: str,
    digits: int,
    meaning: str,
    *,
    name: str | None = None,
    default: Any = MISSING,
) -> Any:
    about = {"title": title, "unit": unit, "digits": digits, "meaning": meaning, "name": name}
    return field(default=default, metadata=about)


@dataclass(frozen=True)
class NodeRecord:
    """A measured node; `columns` says what each value is. Final.

    A value is `None` where nothing can be said of it: no PET, no probability, no names of places.
    """

    id: int = _column(
        "node",
        "",
        0,
        "number in its mask, the largest node first; of regions the first one's first",
    )
    label: int = _column("class", "", 0, "class of the node's voxels; number of its region")
    centroid_mm: Triple = _column("centroid", "mm (RAS)", 0, "mean place of its voxels")
    volume_ml: float = _column("volume", "ml", 2, "volume of its voxels; its MTV")
    long_axis_mm: float = _column(
        "long axis", "mm", 1, "longest diameter on an axial slice (RECIST 1.1)"
    )
    short_axis_mm: float = _column(
        "short axis", "mm", 1, "longest diameter at right angles to the long axis (RECIST 1.1)"
    )
    size_class: str = _column("size class (RECIST 1.1)", "", 0, "by the short axis")
    suv_max: float | None = _column("SUVmax", "", 1, "highest SUV", default=None)
    suv_mean: float | None = _column("SUVmean", "", 1, "mean SUV", default=None)
    suv_peak: float | None = _column(
        "SUVpeak", "", 1, "highest mean SUV of a sphere of 1 ml centred in the node", default=None
    )
    suv_peak_local: float | None = _column(
        "SUVpeak, local",
        "",
        1,
        "mean SUV of a sphere of 1 ml centred on the voxel of the SUVmax (IBSI)",
        default=None,
    )
    mtv_ml: float | None = _column("MTV", "ml", 2, "volume of the mask", default=None)
    tlg: float | None = _column("TLG", "SUV ml", 1, "SUVmean times volume", default=None)
    mtv_41pct_ml: float | None = _column(
        "MTV 41 %", "ml", 2, "volume from 41 % of SUVmax on", default=None
    )
    mtv_suv2_5_ml: float | None = _column(
        "MTV SUV 2.5", "ml", 2, "volume from SUV 2.5 on", name="mtv_suv2.5_ml", default=None
    )
    mtv_suv4_ml: float | None = _column("MTV SUV 4", "ml", 2, "volume from SUV 4 on", default=None)
    hu_mean: float | None = _column("mean HU", "", 0, "mean density in the CT", default=None)
    probability: float | None = _column(
        "probability", "", 2, "mean probability of the foreground", default=None
    )
    probability_max: float | None = _column(
        "highest probability", "", 2, "highest probability of the foreground", default=None
    )
    uncertainty: float | None = _column("uncertainty", "", 3, "mean uncertainty", default=None)
    station: str | None = _column(
        "station", "", 0, "organ or station at the centroid, else the nearest", default=None
    )
    station_distance_mm: float | None = _column(
        "distance of the station", "mm", 1, "0 inside of it", default=None
    )
    status: str | None = _column(
        "status", "", 0, "proposal: of a network that never saw a label", default=None
    )
    region: str | None = _column(
        "region", "", 0, "region whose component it is; regions may overlap", default=None
    )

    @property
    def row(self) -> dict[str, Any]:
        """The values that are known, by column, as plain values for CSV and JSON."""
        found = {key: getattr(self, name) for key, name in _names().items()}
        plain = {key: value for key, value in found.items() if value is not None}
        return {**plain, "centroid_mm": list(self.centroid_mm)}

    @staticmethod
    def from_row(row: Mapping[str, Any], file: str | Path | None = None) -> NodeRecord:
        """Return the node of a row that `row` gave; columns that are not known are left out.

        Raises:
            DataError: If a column is missing or holds something else.
        """
        names = _names()
        needed = {key for key, name in names.items() if _fields()[name].default is MISSING}
        if missing := needed - set(row):
            raise DataError(
                "a row of a node table must have every column",
                file=file,
                found=f"no {', '.join(sorted(missing))}",
                remedy="write the table again with hilum predict",
            )
        values = {name: row[key] for key, name in names.items() if key in row}
        place = tuple(float(v) for v in values["centroid_mm"])
        if len(place) != 3 or not all(map(math.isfinite, place)):
            raise DataError(
                "a centroid must be three numbers",
                file=file,
                found=f"{place}",
                remedy="predict again, which writes it",
            )
        return NodeRecord(**{**values, "centroid_mm": place})


@cache
def columns() -> dict[str, Column]:
    """Return every column of a node table by the name of the attribute, in order."""
    return {
        name: Column(
            one.metadata["name"] or name,
            *(one.metadata[key] for key in ("title", "unit", "digits", "meaning")),
        )
        for name, one in _fields().items()
    }


def write_nodes(folder: Path, name: str, nodes: Sequence[NodeRecord]) -> None:
    """Write `<name>_nodes.csv` and `<name>_nodes.json`."""
    rows = [node.row for node in nodes]
    write_json(folder / f"{name}_nodes.json", rows)
    text = io.StringIO()
    used = [one.name for one in columns().values() if any(one.name in row for row in rows)]
    writer = csv.DictWriter(text, used or ["id"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(csv_row(row) for row in rows)
    write_text(folder / f"{name}_nodes.csv", text.getvalue())


def read_nodes(file: str | Path) -> list[NodeRecord]:
    """Read `<name>_nodes.json`.

    Raises:
        DataError: If it holds something else.
    """
    rows = read_json(Path(file))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(
            "a node table must be a list of rows",
            file=file,
            remedy="predict again, which writes it",
        )
    return [NodeRecord.from_row(row, file) for row in rows]


def csv_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose lists are words, as CSV wants it."""
    return {
        key: " ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in row.items()
    }


@cache
def _fields() -> dict[str, Field[Any]]:
    return {one.name: one for one in fields(NodeRecord)}


def _names() -> dict[str, str]:
    """Return the attribute of each column."""
    return {one.name: name for name, one in columns().items()}
