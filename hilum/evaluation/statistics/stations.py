"""Metrics of each station over a cohort, with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .cohort import cohort_metrics

Numbers = dict[str, float]
SHOWN = ("lesion_sensitivity", "f1agg", "dscagg", "false_positives")


def station_metrics(
    cases: Mapping[str, Mapping[str, Numbers]], patients: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Return how the nodes of each station are found, the station with most nodes first.

    Sensitivity and false positives are means over patients (of sensitivity: over those with a node
    there); F1agg and DSCagg pool the nodes of the station.

    Args:
        cases: Sums of each station, from `metrics.stations.by_station`, by case; empty for a case
            without nodes. Cases of which nothing is known are left out before.
        patients: Patient of each case.

    Returns:
        By station: `nodes` of the reference, `found` ones, `made_up` ones, `patients` who have a
        node there, and each metric of `SHOWN` with value, interval and number of patients.
    """
    places = dict.fromkeys(place for own in cases.values() for place in own)
    found: dict[str, dict[str, Any]] = {}
    for place in places:
        rows = {name: _row(own.get(place, {})) for name, own in cases.items()}
        cohort = cohort_metrics(rows, patients)
        sums = {
            key: sum(row[name] for row in rows.values())
            for key, name in (("found", "lesion_tp"), ("missed", "lesion_fn"))
        }
        found[place] = {
            "nodes": sums["found"] + sums["missed"],
            "found": sums["found"],
            "made_up": sum(row["lesion_fp"] for row in rows.values()),
            "patients": float(
                len({patients[n] for n, row in rows.items() if row["lesion_tp"] + row["lesion_fn"]})
            ),
            **{name: cohort[name] for name in SHOWN if name in cohort},
        }
    return dict(sorted(found.items(), key=lambda item: (-item[1]["nodes"], item[0])))


def _row(sums: Mapping[str, float]) -> Numbers:
    """Return the metrics of a case at one station."""
    names = ("lesion_tp", "lesion_fp", "lesion_fn", "intersection_ml", "volume_ml")
    row = {name: sums.get(name, 0.0) for name in (*names, "reference_volume_ml")}
    nodes = row["lesion_tp"] + row["lesion_fn"]
    row["lesion_sensitivity"] = row["lesion_tp"] / nodes if nodes else math.nan
    row["false_positives"] = row["lesion_fp"]
    return row
