"""Compare masks, made by any tool, with references: the Python side of `hilum evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.case import Case
from ..core.errors import DataError
from ..core.files import write_json
from ..core.geometry import Grid
from ..core.modality import modality
from ..core.types import IGNORE
from ..datasets.manifest import read_manifest
from ..datasets.nifti import ENDINGS, read_label, read_volume
from ..datasets.resampling import resample
from ..evaluation.agreement import agreement
from ..evaluation.case import case_metrics
from ..evaluation.cohort import cohort_metrics
from ..evaluation.metrics_table import METRICS
from ..evaluation.nodes import Row, node_table
from .assessment import Numbers, Progress, measure, write_rows

TOLERANCE_MM = 0.1
"""Headers of other tools round; a tenth of a millimetre moves no voxel."""

SHOWN = ("dice", "dscagg", "f1agg", "nsd_2mm", "hd95_mm", "fpv_ml", "fnv_ml")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        cases: Metrics of each case, by class.
        cohort: Value, interval and number of patients of each metric, by class.
        out: Folder with the tables.
    """

    cases: dict[int, dict[str, Numbers]]
    cohort: dict[int, dict[str, dict[str, float]]]
    out: Path

    def lines(self) -> list[str]:
        """Return the main numbers for a terminal."""
        rows = []
        for value, metrics in self.cohort.items():
            title = f"class {value}: " if len(self.cohort) > 1 else ""
            rows.append(f"{title}{len(self.cases[value])} cases")
            for name in SHOWN:
                if name in metrics:
                    m = metrics[name]
                    rows.append(
                        f"  {METRICS[name].title:<10} {m['value']:8.3f}  "
                        f"[{m['ci_low']:.3f}, {m['ci_high']:.3f}]  {m['n']:.0f} patients"
                    )
        return [*rows, f"tables in {self.out}"]


def evaluate(
    predictions: str | Path,
    manifest: str | Path,
    out: str | Path,
    *,
    cases: Sequence[str] | None = None,
    by_site: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure `<case>.nii.gz` in a folder against the labels of a manifest or folder.

    Writes `cases.csv`, `nodes.csv` (the nodes of both masks) and `cohort.json` with the definition
    and the empty rule of every metric. A class that a case holds in neither mask counts there by
    the empty rule.

    Args:
        predictions: Folder of masks, on the grids of the labels.
        manifest: Cohort; cases without a label are left out. Or a folder of reference masks with
            the names of the predictions; each is then a patient, and uptake is not measured.
        out: Where to write.
        cases: Only these.
        by_site: Whether `cohort.json` has the metrics of each site too.
        progress: Told after each case.

    Raises:
        DataError: If a case has no prediction, or one on another grid.
    """
    folder, out = Path(predictions), Path(out)
    chosen = _chosen(Path(manifest), cases)
    files = {case.id: _prediction(folder, case) for case in chosen}
    found: dict[int, dict[str, Numbers]] = {}
    grids: dict[str, Grid] = {}
    nodes: list[dict[str, Any]] = []
    for number, case in enumerate(chosen, 1):
        numbers, grids[case.id], rows = _one(case, files[case.id])
        nodes += rows
        for value, metrics in numbers.items():
            found.setdefault(value, {})[case.id] = metrics
        if progress:
            progress(number, len(chosen), case.id)
    empty = np.zeros((1, 1, 1), np.uint8)
    patients = {case.id: case.patient for case in chosen}
    for value, own in found.items():
        missing = {c: case_metrics(empty, empty, grids[c], None, value) for c in grids.keys() - own}
        found[value] = {name: (own | missing)[name] for name in grids}
    found = dict(sorted(found.items()))
    cohort = {value: cohort_metrics(own, patients) for value, own in found.items()}
    more = _agreement(found)
    if by_site:
        more["sites"] = _by_site(found, chosen)
    _write(out, found, cohort, patients, nodes, more)
    return Evaluation(found, cohort, out)


def _chosen(manifest: Path, names: Sequence[str] | None) -> list[Case]:
    cases = _in_folder(manifest) if manifest.is_dir() else read_manifest(manifest)
    unknown = set(names or ()) - {case.id for case in cases}
    if unknown:
        raise DataError(
            "the manifest must hold the case", case=", ".join(sorted(unknown)), file=manifest
        )
    chosen = [c for c in cases if c.label is not None and (names is None or c.id in names)]
    if not chosen:
        raise DataError(
            "the manifest must have a case with a label",
            file=manifest,
            remedy="fill the column label with the reference masks",
        )
    return chosen


def _in_folder(folder: Path) -> list[Case]:
    """Return a case for each mask of a plain folder."""
    found = [
        Case(file.name.removesuffix(ending), file.name.removesuffix(ending), label=file)
        for file in sorted(folder.iterdir())
        for ending in ENDINGS
        if file.name.endswith(ending)
    ]
    if not found:
        raise DataError(
            "the folder of references must hold masks",
            file=folder,
            remedy=f"name them <case>{ENDINGS[0]}",
        )
    return found


def _agreement(found: dict[int, dict[str, Numbers]]) -> dict[str, Any]:
    """Return how predicted and reference volumes agree over the cases of each class."""
    return {
        "volume_agreement": {
            value: asdict(
                agreement(
                    [m["volume_ml"] for m in own.values()],
                    [m["reference_volume_ml"] for m in own.values()],
                )
            )
            for value, own in found.items()
        }
    }


def _by_site(found: dict[int, dict[str, Numbers]], cases: Sequence[Case]) -> dict[str, Any]:
    """Return the cohort metrics of each site, by class."""
    patients = {case.id: case.patient for case in cases}
    names: dict[str, list[str]] = {}
    for case in cases:
        names.setdefault(case.site or "unknown", []).append(case.id)
    return {
        site: {
            value: cohort_metrics({name: own[name] for name in inside}, patients)
            for value, own in found.items()
        }
        for site, inside in sorted(names.items())
    }


def _prediction(folder: Path, case: Case) -> Path:
    for ending in ENDINGS:
        file = folder / f"{case.id}{ending}"
        if file.is_file():
            return file
    raise DataError(
        "every labelled case must have a prediction",
        case=case.id,
        file=folder / f"{case.id}{ENDINGS[0]}",
        found="no such file",
        remedy="predict it, or leave the case out of the manifest",
    )


def _one(case: Case, file: Path) -> tuple[dict[int, Numbers], Grid, list[dict[str, Any]]]:
    """Return metrics by class, the grid, and the nodes of both masks."""
    assert case.label is not None
    reference, prediction = read_label(case.label, case.id), read_label(file, case.id)
    if not prediction.grid.same_as(reference.grid, TOLERANCE_MM):
        raise DataError(
            "the prediction must lie on the grid of the label",
            case=case.id,
            file=file,
            found=f"{_about(prediction.grid)} against {_about(reference.grid)}",
            remedy="bring it back to the grid of the original scan",
        )
    grid, axes, flips = reference.grid.canonical()
    turned = tuple(axis for axis in range(3) if flips[axis])
    ours, truth = (np.flip(x.array.transpose(axes), turned) for x in (prediction, reference))
    volumes = {}
    for name, scan in case.volumes.items():
        # Metrics need uptake only; density would cost a large file.
        if modality(name).unit == "SUV":
            volume = read_volume(scan, case.id)
            volumes[name] = resample(volume.array, volume.grid, grid, fill=modality(name).fill)
    known = truth != IGNORE
    values = {int(v) for x in (ours[known], truth[known]) for v in np.unique(x)} - {0, IGNORE}
    numbers = measure(ours, truth, grid, volumes, sorted(values | {1}))
    rows = []
    for kind, mask in (("prediction", ours), ("reference", np.where(known, truth, 0))):
        table: list[Row] = node_table(mask, grid, volumes)
        rows += [{"case": case.id, "mask": kind, **row} for row in table]
    return numbers, grid, rows


def _write(
    out: Path,
    found: dict[int, dict[str, Numbers]],
    cohort: dict[int, dict[str, dict[str, float]]],
    patients: dict[str, str],
    nodes: list[dict[str, Any]],
    more: dict[str, Any],
) -> None:
    rows = [
        {"case": name, "patient": patients[name], "class": value, **metrics}
        for value, own in found.items()
        for name, metrics in own.items()
    ]
    write_rows(out / "cases.csv", rows)
    write_rows(out / "nodes.csv", nodes)
    definitions = {
        name: {"definition": metric.definition, "empty": metric.empty}
        for name, metric in METRICS.items()
    }
    write_json(
        out / "cohort.json",
        {"cases": len(patients), "classes": cohort, "definitions": definitions, **more},
    )


def _about(grid: Grid) -> str:
    spacing = " x ".join(f"{s:.4g}" for s in grid.spacing)
    origin = ", ".join(f"{v:.2f}" for v in grid.affine[:3, 3])
    return f"{grid.shape} voxels of {spacing} mm from ({origin})"
