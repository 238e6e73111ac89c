"""Metrics of a station by hand."""

from __future__ import annotations

import pytest

from hilum.evaluation.statistics.stations import station_metrics


def sums(tp: int, fp: int, fn: int, both: float, ours: float, theirs: float) -> dict[str, float]:
    return {
        "lesion_tp": tp,
        "lesion_fp": fp,
        "lesion_fn": fn,
        "intersection_ml": both,
        "volume_ml": ours,
        "reference_volume_ml": theirs,
    }


def test_every_number_of_a_station_by_hand() -> None:
    cases = {
        "a": {"7": sums(1, 1, 1, 1.0, 3.0, 2.0), "4R": sums(0, 1, 0, 0, 1, 0)},
        "b": {"7": sums(3, 0, 0, 2.0, 2.0, 3.0)},
        "c": {},
    }
    found = station_metrics(cases, {name: name for name in cases})
    assert list(found) == ["7", "4R"], "most nodes first"
    seven, right = found["7"], found["4R"]
    assert [seven[key] for key in ("nodes", "found", "made_up", "patients")] == [5, 4, 1, 2]
    assert seven["lesion_sensitivity"]["value"] == pytest.approx((1 / 2 + 1) / 2)
    assert seven["lesion_sensitivity"]["n"] == 2
    assert seven["f1agg"]["value"] == pytest.approx(8 / (8 + 1 + 1))
    assert seven["dscagg"]["value"] == pytest.approx(2 * 3 / (5 + 5))
    assert seven["false_positives"]["value"] == pytest.approx(1 / 3)
    assert seven["false_positives"]["n"] == 3, "a patient without nodes there has none"
    assert [right[key] for key in ("nodes", "found", "made_up", "patients")] == [0, 0, 1, 0]
    assert "lesion_sensitivity" not in right
