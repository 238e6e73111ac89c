"""Evaluations say how raters differ, whether masks are files or come from a store."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.raters.fusing import fuse
from hilum.evaluation.settings import EvaluationSettings
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.segmenter.assessment.prepared_cases import assess
from hilum.segmenter.segmenter import Segmenter

from ...raters_of_one import three_raters
from ...tiny_cohort import config, threshold  # noqa: F401


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return (
        2
        * np.count_nonzero((one == 1) & (other == 1))
        / float((one == 1).sum() + (other == 1).sum())
    )


def test_masks_are_compared_with_what_raters_are_together(tmp_path: Path) -> None:
    manifest = three_raters(tmp_path)
    expected = {}
    for case in read_manifest(manifest):
        files = list(case.raters.values()) or [case.label]
        masks = [read_label(file, case.id) for file in files if file]
        write_volume(tmp_path / "ours" / f"{case.id}.nii.gz", masks[0].array, masks[0].grid)
        arrays = np.stack([mask.array.astype(np.uint8) for mask in masks])
        expected[case.id] = {
            "dice": dice(arrays[0], fuse(arrays, "majority")),
        }
        if case.raters:
            between = [dice(*pair) for pair in combinations(arrays, 2)]
            with_each = [dice(arrays[0], other) for other in arrays]
            expected[case.id] |= {
                "rater_dice": np.mean(between),
                "rater_dice_prediction": np.mean(with_each),
            }
    settings = validate(EvaluationSettings, {"raters": "majority", "regions": {"all": [1, 2]}})
    found = evaluate(tmp_path / "ours", manifest, tmp_path / "out", settings=settings)
    for target in (1, "all"):
        for name in ("a", "b"):
            for metric, value in expected[name].items():
                assert found.cases[target][name][metric] == pytest.approx(value)
        assert "rater_dice" not in found.cases[target]["alone"]
        assert found.cohort[target]["rater_dice"]["n"] == 2


def test_tests_of_a_run_have_the_raters_of_its_store(
    tmp_path: Path,
    threshold: Segmenter,  # noqa: F811
) -> None:
    settings = validate(PrepareSettings, {"spacing": (4, 4, 4), "raters": "mean"})
    store = prepare(three_raters(tmp_path), tmp_path / "store", settings)
    found = assess(threshold, store, store.ids, ["ct+pet"], tmp_path / "test")["ct+pet"]
    assert 0 < found["a"]["rater_dice"] < 1
    assert found["a"]["rater_disagreement_ml"] > 0
    assert found["a"]["rater_dice_prediction"] != found["a"]["rater_dice"]
    assert "rater_dice" not in found["alone"]
