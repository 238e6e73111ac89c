"""A ranking tells features that carry the classes from those that carry the patients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from hilum.annotate.embedding.logme import logme
from hilum.annotate.embedding.rank import rank, rank_rows
from hilum.annotate.embedding.table import Embeddings
from hilum.core.errors import DataError


def made(kind: str, patients: int = 6, each: int = 12) -> Embeddings:
    """Return features that hold the class, the patient's own code of it, or nothing."""
    generator = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    vectors = []
    for patient in range(patients):
        for number in range(each):
            node = number % 3 == 0
            vector = generator.normal(size=8) * 0.3
            if kind == "class":
                vector[0] += 2 * node
            elif kind == "patient":
                vector[0] += (2 * node - 1) * (-1) ** patient
                vector[1 + patient % 6] += 3
            name = "node" if node else "background"
            row = {"kind": name, "patient": f"p{patient}", "class": int(node), "split": "train"}
            rows.append(row)
            vectors.append(vector)
    return Embeddings(np.array(vectors, np.float32), rows, {})


def test_what_holds_the_class_is_ranked_above_what_holds_the_patient() -> None:
    good, patient, nothing = (rank(kind, made(kind)) for kind in ("class", "patient", "noise"))
    assert good.linear.value > 0.95
    assert good.knn.value > 0.95
    assert patient.linear.value < 0.6
    assert nothing.linear.value == pytest.approx(0.5, abs=0.2)
    assert good.logme > max(patient.logme, nothing.logme)
    assert good.nodes == 24
    assert good.linear.low <= good.linear.value <= good.linear.high
    assert "class: linear 0.990 [" in "\n".join(rank_rows([good]))


def test_one_patient_cannot_rank() -> None:
    with pytest.raises(DataError, match="two labelled patients"):
        rank("x", made("class", patients=1))


@pytest.mark.parametrize("shape", [(30, 4), (12, 20)])
def test_logme_is_the_largest_log_evidence(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(3)
    features = generator.normal(size=shape)
    classes = (features[:, 0] + 0.5 * generator.normal(size=shape[0]) > 0).astype(int)

    def evidence(logs: np.ndarray, y: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        covariance = np.eye(shape[0]) / beta + features @ features.T / alpha
        return -multivariate_normal(np.zeros(shape[0]), covariance).logpdf(y) / shape[0]

    want = []
    for one in (0, 1):
        y = (classes == one).astype(float)
        tried = [
            minimize(evidence, start, args=(y,), method="Nelder-Mead").fun
            for start in ([0.0, 0.0], [2.0, 1.0])
        ]
        want.append(-min(tried))
    assert logme(features, classes) == pytest.approx(np.mean(want), abs=2e-3)


def test_one_class_has_no_evidence() -> None:
    assert np.isnan(logme(np.ones((4, 2)), np.ones(4, int)))
