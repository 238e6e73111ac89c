"""Embeddings with the table that says what each is of: in memory and on disk."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from hilum.core.errors import DataError, did_you_mean
from hilum.core.files import atomic_path, write_array, write_json
from hilum.core.side_files import read_side

Kind = Literal["case", "patch", "node", "background"]
COLUMNS = (
    *("row", "kind", "id", "case", "patient", "site", "split", "labelled", "class"),
    *("x_mm", "y_mm", "z_mm", "depth_mm", "height_mm", "width_mm", "body", "volume_ml"),
)
LEAST_DEVIATION = 1e-6


class Neighbour(NamedTuple):
    """A case that is like another one.

    Attributes:
        case: Its name.
        likeness: Cosine of the standardised embeddings, -1 to 1.
    """

    case: str
    likeness: float


@dataclass(frozen=True)
class Embeddings:
    """Vectors, and what each of them is of.

    Attributes:
        vectors: float32 `[N, C]`, as the network gave them: means over voxels.
        rows: As many, with the keys of `COLUMNS`. `kind` is `case`, `patch`, `node` or
            `background` (as a node, elsewhere in the body); `x_mm`, `y_mm`, `z_mm` the middle in
            RAS; `depth_mm`, `height_mm`, `width_mm` the sides of the box along the axes of the
            prepared grid; `body` the fraction of it that is body.
        about: Folder of the network, hashes of network and store, and settings.
    """

    vectors: np.ndarray
    rows: list[dict[str, Any]]
    about: dict[str, Any]

    def of(self, kind: Kind) -> Embeddings:
        """Return the embeddings of one kind."""
        return self.where([row["kind"] == kind for row in self.rows])

    def where(self, keep: Sequence[bool] | np.ndarray) -> Embeddings:
        """Return some embeddings."""
        index = np.flatnonzero(np.asarray(keep, bool))
        return Embeddings(self.vectors[index], [self.rows[i] for i in index], self.about)

    def standardised(self) -> np.ndarray:
        """Return vectors with mean 0 and deviation 1 of each number over those of this kind.

        Mean and deviation are those of the rows that do not test; a number that does not vary
        there is 0.
        """
        fit = np.array([row["split"] != "test" for row in self.rows], bool)
        base = self.vectors[fit] if fit.any() else self.vectors
        mean, deviation = base.mean(0, dtype=np.float64), base.std(0, dtype=np.float64)
        scaled = (self.vectors - mean) / np.maximum(deviation, LEAST_DEVIATION)
        return np.where(deviation > LEAST_DEVIATION, scaled, 0).astype(np.float32)

    def patients(self) -> Embeddings:
        """Return one embedding per patient: the mean over the cases, with the row of the first."""
        cases = self.of("case")
        of: dict[str, list[int]] = {}
        for number, row in enumerate(cases.rows):
            of.setdefault(row["patient"], []).append(number)
        means = [cases.vectors[own].mean(0) for own in of.values()]
        rows = [cases.rows[own[0]] for own in of.values()]
        return Embeddings(np.array(means, np.float32).reshape(len(rows), -1), rows, self.about)

    def neighbours(self, case: str, most: int = 5) -> list[Neighbour]:
        """Return the cases that are most like one, other patients' only.

        Raises:
            DataError: If the case has no embedding.
        """
        cases = self.of("case")
        names = [row["case"] for row in cases.rows]
        if case not in names:
            raise DataError(
                f"the case must have an embedding{did_you_mean(case, names)}",
                case=case,
                remedy="embed a store that holds it",
            )
        return cases.nearest([names.index(case)], most)[0]

    def nearest(self, rows: Sequence[int], most: int) -> list[list[Neighbour]]:
        """Return for some rows the rows most like each, other patients' only."""
        unit = units(self.standardised())
        patients = np.array([row["patient"] for row in self.rows])
        found = []
        for row in rows:
            likeness = np.where(patients == patients[row], -np.inf, unit @ unit[row])
            order = np.argsort(-likeness, kind="stable")[:most]
            known = [i for i in order.tolist() if np.isfinite(likeness[i])]
            found.append([Neighbour(self.rows[i]["case"], float(likeness[i])) for i in known])
        return found

    def save(self, folder: str | Path) -> Path:
        """Write `embeddings.npy`, `embeddings.csv` (a line per row) and `embeddings.json`."""
        place = Path(folder)
        write_array(place / "embeddings.npy", self.vectors)
        path = place / "embeddings.csv"
        with atomic_path(path) as part, part.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows({**row, "row": i} for i, row in enumerate(self.rows))
        write_json(place / "embeddings.json", self.about)
        return place

    @classmethod
    def read(cls, folder: str | Path) -> Embeddings:
        """Read what `save` wrote.

        Raises:
            DataError: If files are missing, or do not belong together.
            UserError: If `embeddings.json` is missing or damaged.
        """
        place = Path(folder)
        try:
            vectors = np.load(place / "embeddings.npy", allow_pickle=False)
            rows = list(_rows(place / "embeddings.csv"))
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                "embeddings must be a folder with embeddings.npy and embeddings.csv",
                file=place,
                remedy="make it with `hilum embed FOLDER STORE --out DIR`",
            ) from None
        except (ValueError, KeyError, csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                "embeddings must be as they were written",
                file=place,
                found=error,
                remedy="make them again with `hilum embed FOLDER STORE --out DIR`",
            ) from None
        if vectors.ndim != 2 or len(vectors) != len(rows):
            raise DataError(
                "embeddings and their table must have as many rows",
                file=place,
                found=f"{len(vectors)} and {len(rows)}",
                remedy="copy the whole folder again, or make it again with `hilum embed`",
            )
        return cls(vectors, rows, read_side(place / "embeddings.json"))


def units(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1; one of zeros stays as it is."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table, numbers as numbers."""
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            numbers = {n: float(row[n]) if row[n] else "" for n in COLUMNS if n in MEASURED}
            yield {
                **row,
                **numbers,
                "row": int(row["row"]),
                "labelled": row["labelled"] == "True",
                "class": int(row["class"]) if row["class"] else "",
            }


MEASURED = COLUMNS[9:]
"""Columns with a number, empty where it means nothing."""
