"""What an operating point is worth that no label chose, on test patients of a store.

`python benchmarks/label_free_point.py STORE` takes a soft threshold of the uptake (SUV 2, slope 4.5
per unit of log(1 + SUV)) for a network, since it finds kidneys and heart as one without labels
does. The pool chooses by expected statistics; labels are read of the test patients alone, and for
the row of statistics that are true. The store of the page:

    hilum phantom work/cohort patients=40 size=demo test_fraction=0.4 seed=7
    hilum prepare work/cohort/manifest.csv --out work/store spacing=[4,4,4]
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from scipy import special

from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.evaluation.metrics.instances import Instances
from hilum.segmenter.calibration.expected import (
    LOGITS,
    ExpectedSettings,
    choose_expected,
    statistics_of_case,
)
from hilum.segmenter.operating.apply import mask_of
from hilum.segmenter.operating.point import ARGMAX, OperatingPoint

LARGE = {"volume_ml": (0.05, 60.0)}
SIZES = {"min_volume_ml": 0.05, "max_volume_ml": 60.0}


def probability(case: StoredCase) -> np.ndarray:
    """Return the soft threshold `[2, D, H, W]`."""
    suv = np.asarray(case.images[case.modalities.index("pet")], np.float32)
    one = special.expit(4.5 * (np.log1p(suv) - np.log1p(2.0))).astype(np.float32)
    return np.stack([1 - one, one])


def dice(case: StoredCase, point: OperatingPoint) -> float:
    """Return the Dice of a case at a point; two empty masks count 1."""
    label = np.asarray(case.label)
    ours = (mask_of(probability(case), case, point) == 1) & (label != IGNORE)
    total = np.count_nonzero(ours) + np.count_nonzero(label == 1)
    return 2 * np.count_nonzero(ours & (label == 1)) / total if total else 1.0


def truth(store: CaseStore, names: list[str]) -> dict[str, float]:
    """Return the mean number and volume of the nodes of a patient."""
    nodes = [Instances.of(np.asarray(store[name].label)) for name in names]
    ml = [store[n].grid.voxel_ml * one.sizes.sum() for n, one in zip(names, nodes, strict=True)]
    return {
        "number": float(np.mean([one.count for one in nodes])),
        "total_ml": float(np.mean(ml)),
    }


def chosen(store: CaseStore, pool: list[str], values: dict[str, Any]) -> OperatingPoint:
    """Return the point of the expected statistics."""
    asked = validate(ExpectedSettings, values)
    tables = [
        statistics_of_case(probability(store[name]), store[name].grid.voxel_ml, asked)
        for name in pool
    ]
    patients = [store.rows[name]["patient"] for name in pool]
    return choose_expected(tables, patients, 2, asked, 4.0).point


def main(place: str) -> None:
    store = CaseStore(place)
    test = [name for name in store.ids if store.rows[name].get("split") == "test"]
    pool = [name for name in store.ids if name not in test]
    real = truth(store, pool)
    print(f"{len(pool)} patients choose, {len(test)} test; the pool has {real}")
    points = {
        "0.5": ARGMAX,
        "0.5, 0.05 to 60 ml": validate(OperatingPoint, SIZES),
        "expected, 4.7 nodes and 22 ml": chosen(
            store, pool, {**LARGE, "number": 4.7, "total_ml": 22}
        ),
        "expected, true number and volume": chosen(store, pool, {**LARGE, **real}),
    }
    for name, point in points.items():
        mean = np.mean([dice(store[n], point) for n in test])
        print(f"{name}: Dice {mean:.3f} ({point.words()})")
    each = [
        validate(OperatingPoint, {**SIZES, "thresholds": (float(t),)})
        for t in special.expit(LOGITS)
    ]
    best = max(float(np.mean([dice(store[n], point) for n in test])) for point in each)
    print(f"best threshold on the test patients (oracle), 0.05 to 60 ml: Dice {best:.3f}")


if __name__ == "__main__":
    main(sys.argv[1])
