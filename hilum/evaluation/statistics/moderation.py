"""Variances of one comparison moderated by those of the whole study (empirical Bayes)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy import special

from .mean_squares import MeanSquares, mean_squares

FLOOR = 1e-5
"""Variances below this fraction of their median are raised to it, as limma does."""


DOUBT = 1.645
"""A handful of arms says little about whether their variances differ. Without doubt, arms that vary
alike are taken to differ in a third of the studies, and their intervals become too narrow."""


class Prior(NamedTuple):
    r"""What a study says of one kind of variance.

    Two or three runs say little about how much runs differ, but a study has many arms, and their
    runs differ in much the same way. Smyth's model, made for thousands of genes with few arrays
    each, takes the variance $s_j^2$ of arm $j$ with $d$ degrees of freedom as

    $$s_j^2 \mid \sigma_j^2 \sim \frac{\sigma_j^2}{d}\chi^2_d, \qquad
    \frac{1}{\sigma_j^2} \sim \frac{1}{d_0 s_0^2}\chi^2_{d_0},$$

    so that the best guess of $\sigma_j^2$ is $(d_0 s_0^2 + d s_j^2) / (d_0 + d)$ with $d_0 + d$
    degrees of freedom. Where all arms vary alike, $d_0$ is infinite and every comparison takes the
    pooled variance, as in the analysis of several readers and several treatments; where each varies
    in its own way, $d_0$ is near zero and each comparison stands alone.

    Attributes:
        variance: $s_0^2$, of one arm.
        freedom: $d_0$, infinite if the arms show no difference of their variances.
        pooled: Degrees of freedom of all arms together: none can be known better than that.
    """

    variance: np.ndarray
    freedom: np.ndarray
    pooled: float

    def moderate(self, own: Any, freedom: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the moderated variance and its degrees of freedom.

        Args:
            own: Variance of a comparison, on the scale of one arm.
            freedom: Its degrees of freedom.
        """
        endless = np.isinf(self.freedom)
        finite = np.where(endless, 1.0, self.freedom)
        trust = np.where(endless, 1.0, finite / (finite + freedom))
        known = np.maximum(np.minimum(self.freedom + freedom, self.pooled), freedom)
        return np.asarray(trust * self.variance + (1 - trust) * own), np.asarray(known)


class StudyVariances(NamedTuple):
    """Variances that the arms of a study share.

    Attributes:
        models: Prior of the mean square between models, but for what all arms have in common.
        both: Prior of the residual mean square.
        patients: Patients that the mean squares are of.
        arms: Arms.
    """

    models: Prior
    both: Prior
    patients: int
    arms: int

    def moderate(
        self, squares: MeanSquares, freedom: MeanSquares, weight: float, patients: int
    ) -> tuple[MeanSquares, MeanSquares]:
        """Return moderated mean squares of a contrast of arms, and their degrees of freedom.

        The mean square between patients stays its own: patients are many enough to speak.

        Args:
            squares: Mean squares of the contrast.
            freedom: Their degrees of freedom.
            weight: Sum of the squared weights of the arms in the contrast; 2 for a difference.
            patients: Patients of the contrast.
        """
        both = self.both
        models = self.models
        if patients != self.patients:
            # A mean square between models grows with the patients, the residual does not.
            extra = np.maximum(models.variance - both.variance, 0) * patients / self.patients
            models = models._replace(variance=np.minimum(models.variance, both.variance) + extra)
        of_models, known = models.moderate(squares.models / weight, freedom.models)
        of_both, known_both = both.moderate(squares.both / weight, freedom.both)
        return (
            MeanSquares(squares.patients, weight * of_models, weight * of_both),
            MeanSquares(freedom.patients, known, known_both),
        )


def study_variances(cube: np.ndarray) -> StudyVariances | None:
    """Return what the arms of a study say of the variance between runs, and of the residual.

    What all arms have in common (an easy patient, a draw that is hard for every arm) is taken out
    first, since it cancels in any contrast of arms.

    Source:
        Smyth, Stat Appl Genet Mol Biol 2004, 3:3, section 6.2; limma for the floor and the limit to
        the pooled degrees of freedom. The doubt is ours: limma has thousands of genes. Mean
        squares of treatment by reader, case, and both: Dorfman, Berbaum and Metz, Invest Radiol
        1992, 27:723. We estimate the prior from the arms, not from the comparisons, since those
        share a reference arm and are no independent variances.

    Args:
        cube: `[..., arms, patients, models]`, the same patients and models of each arm; patients
            and models that some arm lacks (NaN) are left out where the cube is one study.

    Returns:
        Nothing where there are fewer than two arms, patients or models.
    """
    if cube.ndim == 3:
        cube = _whole(cube)
    arms, patients, models = cube.shape[-3:]
    if min(arms, patients, models) < 2:
        return None
    own = mean_squares(cube - cube.mean(-3, keepdims=True))
    lost = arms / (arms - 1)
    freedom = models - 1
    return StudyVariances(
        _prior(own.models * lost, freedom),
        _prior(own.both * lost, freedom * (patients - 1)),
        patients,
        arms,
    )


def fit_scaled_f(
    variances: np.ndarray, freedom: float, doubt: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return variance and degrees of freedom of the prior, by moments of log variances.

    Source:
        Smyth 2004, section 6.2 (limma's `fitFDist`), which has no doubt.

    Args:
        variances: `[..., arms]`, above 0.
        freedom: Degrees of freedom of each.
        doubt: Standard errors by which the log variances must differ more than sampling lets them,
            before they are taken to differ at all.
    """
    logs = np.log(variances) - special.digamma(freedom / 2) + np.log(freedom / 2)
    centre = logs.mean(-1)
    more = variances.shape[-1] > 1
    spread = logs.var(-1, ddof=1) if more else np.zeros(centre.shape)
    chance = float(special.polygamma(1, freedom / 2))
    spread = spread - chance
    count = variances.shape[-1]
    heavy = float(special.polygamma(3, freedom / 2)) / chance**2
    error = chance * np.sqrt(2 / (count - 1) + heavy / count) if more else 0.0
    vary = spread > doubt * error
    prior = 2 * trigamma_inverse(np.where(vary, spread, 1.0))
    variance = np.exp(centre + special.digamma(prior / 2) - np.log(prior / 2))
    return (
        np.where(vary, variance, variances.mean(-1)),
        np.where(vary, prior, np.inf),
    )


def trigamma_inverse(value: np.ndarray) -> np.ndarray:
    """Return the argument at which the trigamma function has a value above 0.

    Source:
        Newton's method of Smyth 2004, appendix: convex, so that it rises to the root.
    """
    value = np.asarray(value, float)
    found = 0.5 + 1 / value
    for _ in range(50):
        now = special.polygamma(1, found)
        step = now * (1 - now / value) / special.polygamma(2, found)
        found = found + step
        if np.all(np.abs(step) <= 1e-10 * found):
            break
    return np.asarray(found)


def _whole(cube: np.ndarray) -> np.ndarray:
    """Return the patients and models that every arm has: first models, then patients."""
    cube = cube[..., np.isfinite(cube).any(1).all(0)]
    return cube[:, np.isfinite(cube).all((0, 2))]


def _prior(variances: np.ndarray, freedom: int) -> Prior:
    arms = variances.shape[-1]
    middle = np.median(variances, -1, keepdims=True)
    raised = np.maximum(variances, FLOOR * middle)
    safe = np.where(middle > 0, raised, 1.0)
    variance, prior = fit_scaled_f(safe, freedom, DOUBT)
    constant = middle[..., 0] <= 0
    return Prior(
        np.where(constant, variances.mean(-1), variance),
        np.where(constant, np.inf, prior),
        (arms - 1.0) * freedom,
    )
