"""Average precision by hand and as scikit-learn has it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from hilum.evaluation.metrics.average_precision import average_precision
from hilum.evaluation.metrics.froc import Candidate


def test_by_hand() -> None:
    """Two of three lesions found, a second candidate of one lesion, one false in between."""
    candidates = [
        Candidate(0.9, "a"), Candidate(0.8, "a"), Candidate(0.7, None), Candidate(0.6, "b")
    ]  # fmt: skip
    assert average_precision(candidates, 3) == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)


@pytest.mark.parametrize("seed", range(5))
def test_with_one_candidate_of_each_lesion_it_is_scikit_learns(seed: int) -> None:
    generator = np.random.default_rng(seed)
    hits = generator.random(40) < 0.4
    scores = np.round(generator.random(40), 1)
    candidates = [
        Candidate(float(score), f"l{i}" if hit else None)
        for i, (score, hit) in enumerate(zip(scores, hits, strict=True))
    ]
    want = average_precision_score(hits, scores)
    assert average_precision(candidates, int(hits.sum())) == pytest.approx(want)
    assert average_precision(candidates, 2 * int(hits.sum())) == pytest.approx(want / 2)


def test_nothing_to_find_is_undefined_and_nothing_found_is_zero() -> None:
    assert math.isnan(average_precision([Candidate(0.5, None)], 0))
    assert average_precision([], 3) == 0
