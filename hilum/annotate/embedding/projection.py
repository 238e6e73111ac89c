"""Embeddings in two dimensions."""

from __future__ import annotations

import numpy as np


def principal(vectors: np.ndarray, fit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first two principal components, and the fraction of the variance of each.

    The sign of a component is such that the row that reaches furthest along it lies above 0, so
    that a map is the same each time.

    Args:
        vectors: `[N, C]`.
        fit: `[N]` booleans: rows that the components are those of.

    Returns:
        `[N, 2]`, and two shares from 0 to 1; a component that there is not is 0.
    """
    base = vectors[fit] if fit.any() else vectors
    middle = base.mean(0)
    _, s, axes = np.linalg.svd((base - middle).astype(np.float64), full_matrices=False)
    found, share = np.zeros((len(vectors), 2)), np.zeros(2)
    total = float((s**2).sum())
    for index in range(min(2, len(s))):
        if total <= 0:
            break
        along = (vectors - middle) @ axes[index]
        sign = np.sign(along[np.argmax(np.abs(along))]) or 1.0
        found[:, index], share[index] = along * sign, s[index] ** 2 / total
    return found, share
