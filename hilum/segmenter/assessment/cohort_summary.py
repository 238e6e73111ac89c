"""Numbers of a cohort from those of its cases, and the tables that hold both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hilum.core.case import Case
from hilum.core.files import write_json
from hilum.evaluation.metrics.pairs import Pair
from hilum.evaluation.metrics.table import METRICS, Metric, nsd_metrics, nsd_tolerances
from hilum.evaluation.statistics.bland_altman import agreement
from hilum.evaluation.statistics.cohort import cohort_metrics
from hilum.evaluation.statistics.node_status import node_status
from hilum.evaluation.statistics.stations import station_metrics

from .evaluate_case import Measured
from .prepared_cases import Numbers, write_rows
from .unannotated import looked_for
from .views import Target, in_order

MEASURES = ("volume_ml", "nodes", "max_short_axis_mm", "tlg", "suv_max", "suv_peak")
"""What agreement is shown of; the volume of the mask is its MTV."""

Found = dict[Target, dict[str, Numbers]]
"""Metrics of each case, by class or region."""


def gathered(measured: Mapping[str, Measured], cases: Sequence[Case]) -> Found:
    """Return the metrics of each case, classes in order before regions.

    A class that nobody looked for in a case, and a region with such a class, has none there.
    """
    found: Found = {}
    for name, one in measured.items():
        for target, numbers in one.numbers.items():
            found.setdefault(target, {})[name] = numbers
    annotated = {case.id: case.annotated for case in cases}
    whole = {
        target: {
            name: found[target].get(name, one.absent)
            for name, one in measured.items()
            if (
                looked_for(annotated[name], target)
                if isinstance(target, int)
                else name in found[target]
            )
        }
        for target in in_order(found)
    }
    return {target: own for target, own in whole.items() if own}


def agreements(found: Found) -> dict[Target, Any]:
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


def statuses(found: Found, patients: Mapping[str, str]) -> dict[Target, Any]:
    """Return how the node status of patients agrees for each class."""
    return {target: node_status(own, patients) for target, own in found.items()}


def stations(
    measured: Mapping[str, Measured], found: Found, patients: Mapping[str, str]
) -> dict[Target, Any]:
    """Return the metrics of each station for each class; cases of which nothing is known left out.

    False positives are undefined only there.
    """
    return {
        target: station_metrics(
            {
                name: measured[name].stations.get(target, {})
                for name, numbers in own.items()
                if not math.isnan(numbers["false_positives"])
            },
            patients,
        )
        for target, own in found.items()
    }


def _tolerances(found: Found) -> dict[str, Metric]:
    """Return the definitions of the surface Dice at the tolerances that were used."""
    named = {name for own in found.values() for metrics in own.values() for name in metrics}
    return {n: m for t in nsd_tolerances(named) for n, m in nsd_metrics(t).items()}


def by_site(found: Found, cases: Sequence[Case]) -> dict[str, Any]:
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


def pair_row(case: str, region: str, pair: Pair) -> dict[str, Any]:
    """Return a row of `pairs.csv`; a node without a partner has an empty cell."""
    row = {"case": case, "class": region or pair.label, **asdict(pair)}
    del row["label"]
    ids = {key: "" if row[key] is None else row[key] for key in ("prediction", "reference")}
    return row | ids | {"counted_by": " ".join(pair.counted_by)}


def station_rows(
    measured: Mapping[str, Measured], found: Found, patients: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Return the rows of `stations.csv`."""
    return [
        {"case": name, "patient": patients[name], "class": target, "station": station, **sums}
        for name, one in measured.items()
        for target, places in one.stations.items()
        if name in found.get(target, ())
        for station, sums in places.items()
    ]


def write_tables(
    out: Path,
    found: Found,
    cohort: Mapping[Target, dict[str, dict[str, float]]],
    patients: Mapping[str, str],
    nodes: Sequence[dict[str, Any]],
    more: Mapping[str, Any],
) -> None:
    """Write `cases.csv`, `nodes.csv` and `cohort.json`."""
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
        {
            "cases": len(patients),
            "patients": len(set(patients.values())),
            "classes": cohort,
            "definitions": definitions,
            **more,
        },
    )
