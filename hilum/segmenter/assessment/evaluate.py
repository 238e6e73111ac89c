"""Compare masks, made by any tool, with references: the Python side of `hilum evaluate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hilum.core.case import Case
from hilum.core.files import read_json, write_json
from hilum.core.notes import Note, grouped
from hilum.core.outputs import output
from hilum.core.settings import validate
from hilum.datasets.io.masks import some
from hilum.evaluation.metrics.empty import undefined
from hilum.evaluation.metrics.pairs import Pair
from hilum.evaluation.metrics.scores import CaseScores, summary
from hilum.evaluation.metrics.table import METRICS, Metric, nsd_metrics, nsd_tolerances, others
from hilum.evaluation.page import write_evaluation_page
from hilum.evaluation.settings import EvaluationSettings
from hilum.evaluation.statistics.bland_altman import agreement
from hilum.evaluation.statistics.cohort import cohort_metrics
from hilum.evaluation.statistics.detection import detection_intervals

from .evaluate_case import measure_case
from .mask_files import labelled_cases, predictions_of
from .misses import draw_misses
from .prepared_cases import Numbers, Progress, write_rows
from .unannotated import looked_for

MEASURES = ("volume_ml", "tlg", "suv_max", "suv_peak")
"""What agreement is told of; the volume of the mask is its MTV."""

SHOWN = ("dice", "dscagg", "f1agg", "nsd_2mm", "hd95_mm", "fpv_ml", "fnv_ml")


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found.

    Attributes:
        cases: Metrics of each case, by class.
        cohort: Value, interval and number of patients of each metric, by class.
        out: Folder with the tables.
        unscored: Cases without probabilities beside the mask, where others have them: no FROC.
        unreferenced: Predictions that no reference belongs to; they count nowhere.
        notes: What was done to bring masks together.
    """

    cases: dict[int, dict[str, Numbers]]
    cohort: dict[int, dict[str, dict[str, float]]]
    out: Path
    unscored: tuple[str, ...] = ()
    unreferenced: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

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
        return [*rows, *self._undefined(), *self._notes(), f"tables in {self.out}"]

    def _undefined(self) -> list[str]:
        """Say of how many cases the overlap is undefined: nothing is known, or as chosen."""
        counts = {value: undefined(own).get("dice", 0) for value, own in self.cases.items()}
        return [
            f"note: Dice of class {value} is undefined in {count} of {len(self.cases[value])} cases"
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
                        f"note: class {value} is in no {side}; if it has another number there, "
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
    progress: Progress | None = None,
) -> Evaluation:
    """Measure `<case>.nii.gz` in a folder against the labels of a manifest or folder.

    Writes `cases.csv`, `nodes.csv` (the nodes of both masks), `pairs.csv` (which predicted node
    lies on which node, and which metric counted it), `cohort.json`, pictures of the cases that miss
    most in `misses`, and `report.html` with the definition and the empty rule of every metric.
    Where probabilities lie beside every mask, as `hilum predict` writes them, there are FROC and
    calibration, too. A class that a case holds in neither mask counts there by the empty rule.

    Args:
        predictions: Folder of masks, on the lattices of the labels: NIfTI, MetaImage or NRRD.
        manifest: Cohort; cases without a label are left out. Or a folder of reference masks with
            the names of the predictions; each is then a patient, and uptake is not measured.
        out: Where to write.
        cases: Only these.
        by_site: Whether `cohort.json` has the metrics of each site too.
        settings: What counts as near, and as empty.
        progress: Told after each case.

    Raises:
        DataError: If a case has no prediction, or one on another lattice.
    """
    settings = settings or validate(EvaluationSettings, {})
    with output(out, "evaluate", earlier="cohort.json", inputs=[predictions]) as folder:
        return _evaluate(predictions, manifest, folder, cases, by_site, settings, progress)


def _evaluate(
    predictions: str | Path,
    manifest: str | Path,
    out: Path,
    cases: Sequence[str] | None,
    by_site: bool,
    settings: EvaluationSettings,
    progress: Progress | None,
) -> Evaluation:
    chosen = labelled_cases(Path(manifest), cases)
    files, extra = predictions_of(Path(predictions), chosen, all_cases=cases is None)
    found: dict[int, dict[str, Numbers]] = {}
    absent: dict[str, Numbers] = {}
    nodes: list[dict[str, Any]] = []
    scores: dict[str, CaseScores] = {}
    notes: list[Note] = []
    pairs: list[dict[str, Any]] = []
    for number, case in enumerate(chosen, 1):
        one = measure_case(case, files[case.id], settings)
        absent[case.id] = one.absent
        nodes += one.nodes
        notes += one.notes
        pairs += [_row(case.id, pair) for pair in one.pairs]
        if one.scores is not None:
            scores[case.id] = one.scores
        for value, metrics in one.numbers.items():
            found.setdefault(value, {})[case.id] = metrics
        if progress:
            progress(number, len(chosen), case.id)
    patients = {case.id: case.patient for case in chosen}
    for value, own in found.items():
        asked = {c.id: looked_for(c.annotated, value) for c in chosen}
        found[value] = {name: own.get(name, absent[name]) for name in absent if asked[name]}
    found = {value: own for value, own in found.items() if own}
    found = dict(sorted(found.items()))
    cohort = {value: cohort_metrics(own, patients) for value, own in found.items()}
    more: dict[str, Any] = {"agreement": _agreement(found)}
    more["undefined"] = {value: undefined(own, others()) for value, own in found.items()}
    more |= {"both_empty": settings.both_empty, "settings": settings.model_dump(mode="json")}
    more |= {"unreferenced": extra, "notes": [asdict(note) for note in notes]}
    unscored = [case.id for case in chosen if case.id not in scores]
    if unscored and scores:
        more["unscored"] = unscored
    if len(scores) == len(chosen):
        more["scores"] = summary(scores, patients)
        more["scores"] |= {"intervals": detection_intervals(scores, patients)}
    if by_site:
        more["sites"] = _by_site(found, chosen)
    _write(out, found, cohort, patients, nodes, more)
    write_rows(out / "pairs.csv", pairs)
    pictures = draw_misses(out / "misses", chosen, files, pairs)
    page = read_json(out / "cohort.json")
    write_evaluation_page(out / "report.html", page, found, pairs, pictures)
    missing = tuple(unscored if scores else ())
    return Evaluation(found, cohort, out, missing, extra, tuple(notes))


def _agreement(found: dict[int, dict[str, Numbers]]) -> dict[int, Any]:
    """Return how predicted and reference measures agree over the cases of each class."""
    return {
        value: {
            name: asdict(
                agreement(
                    [m.get(name, math.nan) for m in own.values()],
                    [m.get(f"reference_{name}", math.nan) for m in own.values()],
                )
            )
            for name in MEASURES
            if any(f"reference_{name}" in metrics for metrics in own.values())
        }
        for value, own in found.items()
    }


def _tolerances(found: dict[int, dict[str, Numbers]]) -> dict[str, Metric]:
    """Return the definitions of the surface Dice at the tolerances that were used."""
    named = {name for own in found.values() for metrics in own.values() for name in metrics}
    return {n: m for t in nsd_tolerances(named) for n, m in nsd_metrics(t).items()}


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


def _row(case: str, pair: Pair) -> dict[str, Any]:
    """Return a row of `pairs.csv`; a node without a partner has an empty cell."""
    row = {"case": case, "class": pair.label, **asdict(pair)}
    del row["label"]
    ids = {key: "" if row[key] is None else row[key] for key in ("prediction", "reference")}
    return row | ids | {"counted_by": " ".join(pair.counted_by)}


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
        name: {"title": metric.title, "definition": metric.definition, "empty": metric.empty}
        for name, metric in (dict(METRICS.items()) | _tolerances(found)).items()
    }
    write_json(
        out / "cohort.json",
        {"cases": len(patients), "classes": cohort, "definitions": definitions, **more},
    )
