"""LogME: how well a linear model of features explains labels, without fitting anything by hand."""

from __future__ import annotations

import numpy as np

MOST_STEPS, ENOUGH = 100, 1e-6


def logme(features: np.ndarray, classes: np.ndarray) -> float:
    r"""Return the largest log evidence per sample of a Bayesian linear model, mean over classes.

    For the 0-or-1 labels $y$ of one class and features $F$ of $n$ samples and $d$ numbers,

    $$\max_{\alpha,\beta}\frac1n\log p(y\mid F,\alpha,\beta),\quad
      y = Fw + \epsilon,\; w\sim N(0,\alpha^{-1}I),\; \epsilon\sim N(0,\beta^{-1}I),$$

    found by fixed-point iteration on the singular values of $F$. Higher is better. Only values on
    the same samples can be compared.

    Source:
        You, K. and others, "LogME: Practical Assessment of Pre-trained Models for Transfer
        Learning", ICML 2021, arXiv:2102.11005, algorithm 1, with the thin decomposition of
        arXiv:2110.10545. As there, there is no bias; give standardised features.

    Args:
        features: `[n, d]`.
        classes: `[n]`, whole numbers; at least two different ones.
    """
    x = np.asarray(features, np.float64)
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    names = np.unique(classes)
    if len(names) < 2:
        return float("nan")
    return float(np.mean([_evidence(u, s, x.shape[1], classes == one) for one in names]))


def _evidence(u: np.ndarray, s: np.ndarray, dimensions: int, truth: np.ndarray) -> float:
    """Return the largest log evidence per sample of one class."""
    y = truth.astype(np.float64)
    n, squares = len(y), s**2
    along = u.T @ y
    outside = max(float(y @ y - along @ along), 0.0)
    alpha = beta = 1.0
    for _ in range(MOST_STEPS):
        t = alpha / beta
        gamma = float((squares / (squares + t)).sum())
        weights = float((squares * along**2 / (squares + t) ** 2).sum())
        rest = float((along**2 / (1 + squares / t) ** 2).sum()) + outside
        alpha = gamma / max(weights, 1e-12)
        beta = max(n - gamma, 1e-12) / max(rest, 1e-12)
        if abs(alpha / beta - t) <= ENOUGH * t:
            break
    t = alpha / beta
    weights = float((squares * along**2 / (squares + t) ** 2).sum())
    rest = float((along**2 / (1 + squares / t) ** 2).sum()) + outside
    log_det = float(np.log(alpha + beta * squares).sum())
    log_det += (dimensions - len(s)) * np.log(alpha)
    found = dimensions * np.log(alpha) + n * np.log(beta / (2 * np.pi))
    found -= log_det + beta * rest + alpha * weights
    return found / (2 * n)
