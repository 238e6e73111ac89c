"""Compare masks, made by any tool, with references: the Python side of `hilum evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hilum.core.case import Case
from hilum.core.errors import SettingsError
from hilum.core.files import read_json
from hilum.core.notes import Note, grouped
from hilum.core.outputs import output
from hilum.core.settings import validate
from hilum.core.spread import spread
from hilum.core.undefined import number
from hilum.datasets.io.masks import some
from hilum.evaluation.metrics.empty import undefined
from hilum.evaluation.metrics.node_status import criterion
from hilum.evaluation.metrics.scores import summary
from hilum.evaluation.metrics.table import metric_of, others
from hilum.evaluation.page import write_evaluation_page
from hilum.evaluation.settings import EvaluationSettings
from hilum.evaluation.statistics.cohort import cohort_metrics
from hilum.evaluation.statistics.detection import detection_intervals

from .cohort_summary import (
    agreements,
    gathered,
    pair_row,
    station_rows,
    stations,
    statuses,
    write_tables,
)
from .cohort_summary import (
    by_site as of_sites,
)
from .evaluate_case import Measured, measure_case
from .mask_files import labelled_cases, predictions_of
from .misses import FOLDER, draw_misses
from .own_regions import with_own_regions
from .prepared_cases import Numbers, Progress, write_rows
from .views import Target, name_of

SHOWN = ("dice", "dscagg", "f1agg", "hd95_mm", "fpv_ml", "fnv_ml")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        cases: Metrics of each case, by class or region.
        cohort: Value, interval and number of patients of each metric, by class or region.
        status: Agreement of the node status of patients, by class or region.
        out: Folder with the tables.
        unscored: Cases without probabilities next to the mask, where others have them: no FROC.
        unreferenced: Predictions that no reference belongs to; they count nowhere.
        notes: What was done to bring masks together.
    """

    cases: dict[Target, dict[str, Numbers]]
    cohort: dict[Target, dict[str, dict[str, float]]]
    status: dict[Target, Any]
    out: Path
    unscored: tuple[str, ...] = ()
    unreferenced: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    def lines(self) -> list[str]:
        """Return the main numbers for a terminal."""
        rows = []
        for value, metrics in self.cohort.items():
            title = f"{name_of(value)}: " if len(self.cohort) > 1 else ""
            rows.append(f"{title}{len(self.cases[value])} cases")
            near = [name for name in metrics if name.startswith("nsd_")]
            for name in (*SHOWN[:3], *near, *SHOWN[3:]):
                if name in metrics:
                    m = metrics[name]
                    known = m["ci_low"] == m["ci_low"]
                    ends = f"[{m['ci_low']:.3f}, {m['ci_high']:.3f}]" if known else "no interval"
                    title = f"{metric_of(name).title:<10} {number(m['value']):>8}"
                    rows.append(f"  {title}  {ends}  {m['n']:.0f} patients")
            rows.append(_status_line(self.status[value]))
        return [*rows, *self._undefined(), *self._notes(), f"tables in {self.out}"]

    def _undefined(self) -> list[str]:
        """Say of how many cases the overlap is undefined: nothing is known, or as chosen."""
        counts = {value: undefined(own).get("dice", 0) for value, own in self.cases.items()}
        return [
            f"note: Dice of {name_of(value)} is undefined in {count} of {len(self.cases[value])} "
            "cases"
            for value, count in counts.items()
            if count
        ]

    def _notes(self) -> list[str]:
        """Say which classes one side never has, and whose probabilities are missing."""
        notes = grouped(self.notes)
        if self.unreferenced:
            notes.append(
                f"note: {len(self.unreferenced)} predictions have no reference and count nowhere: "
                f"{some(self.unreferenced)}"
            )
        if self.unscored:
            notes.append(
                f"note: no FROC and no calibration, since {some(self.unscored)} lack(s) "
                "probabilities that the others have"
            )
        for value, cases in self.cases.items():
            for key, side in (("reference_volume_ml", "reference"), ("volume_ml", "prediction")):
                if not any(numbers[key] for numbers in cases.values()):
                    notes.append(
                        f"note: {name_of(value)} is in no {side}; if it has another number there, "
                        "map the values of the masks first"
                    )
        return notes


def evaluate(
    predictions: str | Path,
    manifest: str | Path,
    out: str | Path,
    *,
    cases: Sequence[str] | None = None,
    by_site: bool = False,
    settings: EvaluationSettings | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Measure `<case>.nii.gz` in a folder against the labels of a manifest or folder.

    Writes `cases.csv`, `nodes.csv` (the nodes of both masks), `pairs.csv` (which predicted node
    lies on which node, and which metric counted it), `cohort.json`, pictures of the cases that miss
    most in `misses`, and `report.html` with the definition and the empty rule of every metric.
    Where probabilities lie next to every mask, as `hilum predict` writes them, there are FROC and
    calibration, too. A class that a case holds in neither mask counts there by the empty rule.

    Args:
        predictions: Folder of masks, on the lattices of the labels: NIfTI, MetaImage or NRRD.
        manifest: Cohort; cases without a label are left out. Or a folder of reference masks with
            the names of the predictions; each is then a patient, and uptake is not measured.
        out: Where to write.
        cases: Only these.
        by_site: Whether `cohort.json` has the metrics of each site too.
        settings: What counts as near, as found, as positive, and as empty; regions, stations.
        workers: Processes; the numbers are those of one.
        progress: Called after each case.

    Raises:
        DataError: If a case has no prediction, or one on another lattice.
    """
    settings = settings or validate(EvaluationSettings, {})
    with output(out, "evaluate", earlier="cohort.json", inputs=[predictions]) as folder:
        return _evaluate(predictions, manifest, folder, cases, by_site, settings, workers, progress)


def _evaluate(
    predictions: str | Path,
    manifest: str | Path,
    out: Path,
    cases: Sequence[str] | None,
    by_site: bool,
    settings: EvaluationSettings,
    workers: int,
    progress: Progress | None,
) -> Evaluation:
    chosen = labelled_cases(Path(manifest), cases)
    files, extra = predictions_of(Path(predictions), chosen, all_cases=cases is None)
    settings, own_notes = with_own_regions(settings, files)
    jobs = [_Job(case, files[case.id], settings, tuple(others())) for case in chosen]
    measured: dict[str, Measured] = {}
    for done, one in enumerate(spread(_measure, jobs, workers, in_order=True), 1):
        name = chosen[done - 1].id
        measured[name] = one
        if progress:
            progress(done, len(chosen), name)
    patients = {case.id: case.patient for case in chosen}
    found = gathered(measured, chosen)
    cohort = {target: cohort_metrics(own, patients) for target, own in found.items()}
    status = statuses(found, patients)
    notes = [*own_notes, *(note for one in measured.values() for note in one.notes)]
    more: dict[str, Any] = {"agreement": agreements(found)}
    more["node_status"] = {"positive": criterion(settings), "classes": status}
    more["undefined"] = {target: undefined(own, others()) for target, own in found.items()}
    more |= {"both_empty": settings.both_empty, "settings": settings.model_dump(mode="json")}
    more |= {"unreferenced": extra, "notes": [asdict(note) for note in notes]}
    if settings.stations:
        more["stations"] = stations(measured, found, patients)
        write_rows(out / "stations.csv", station_rows(measured, found, patients))
    else:
        (out / "stations.csv").unlink(missing_ok=True)  # of an earlier evaluation
    unscored = _add_scores(measured, patients, more)
    if by_site:
        more["sites"] = of_sites(found, chosen)
    nodes = [row for one in measured.values() for row in one.nodes]
    write_tables(out, found, cohort, patients, nodes, more)
    pairs = [pair_row(name, *pair) for name, one in measured.items() for pair in one.pairs]
    write_rows(out / "pairs.csv", pairs)
    pictures = draw_misses(out / FOLDER, chosen, files, pairs, settings)
    page = read_json(out / "cohort.json")
    write_evaluation_page(out / "report.html", page, found, pairs, pictures)
    return Evaluation(found, cohort, status, out, unscored, extra, tuple(notes))


@dataclass(frozen=True)
class _Job:
    """A case to be measured, and the metrics of others that this process knows."""

    case: Case
    file: Path
    settings: EvaluationSettings
    metrics: tuple[str, ...]


def _measure(job: _Job) -> Measured:
    lost = set(job.metrics) - set(others())
    if lost:
        raise SettingsError(
            "a metric must be known in every process",
            found=f"{', '.join(sorted(lost))} registered in one",
            remedy="name it as an entry point of the group hilum.metrics, or use one worker",
        )
    return measure_case(job.case, job.file, job.settings)


def _add_scores(
    measured: Mapping[str, Measured], patients: dict[str, str], more: dict[str, Any]
) -> tuple[str, ...]:
    """Add FROC and calibration where every case has probabilities; return the cases that lack them.

    Where no case has any, none lacks them.
    """
    scores = {name: one.scores for name, one in measured.items() if one.scores is not None}
    unscored = tuple(name for name in measured if name not in scores) if scores else ()
    if unscored:
        more["unscored"] = unscored
    elif scores:
        more["scores"] = summary(scores, patients)
        more["scores"] |= {"intervals": detection_intervals(scores, patients)}
    return unscored


def _status_line(status: Mapping[str, Any]) -> str:
    """Return how many patients have the node status of the reference."""
    known, right = status["accuracy"]["n"], status["tp"] + status["tn"]
    more = f", {status['unknown']:.0f} of unknown status" if status["unknown"] else ""
    return f"  {'N status':<10} right in {right:.0f} of {known:.0f} patients{more}"
