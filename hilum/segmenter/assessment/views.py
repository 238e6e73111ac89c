"""What of two masks is measured: their classes, unions of these, or nodes that they number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from hilum.core.types import IGNORE
from hilum.evaluation.metrics.instances import Instances, values_of
from hilum.evaluation.settings import EvaluationSettings

from .aligned import Aligned

Target = int | str
"""What a metric is of: a class of the masks, or a region by its name."""


@dataclass(frozen=True)
class View:
    """Two masks of a case and their nodes.

    Attributes:
        region: Name of the region, which is class 1 of these masks; empty for the classes.
        prediction: Whole numbers `[D, H, W]`, 0 where the reference is unknown.
        reference: The same; 255 is unknown.
        nodes: Of both.
        raters: The same masks of each rater, by name, if there are several.
    """

    region: str
    prediction: np.ndarray
    reference: np.ndarray
    nodes: tuple[Instances, Instances]
    raters: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def classes(self) -> list[int]:
        """What is measured: class 1, and whatever else the masks hold."""
        return sorted({1, *values_of(self.prediction), *values_of(self.reference)})


def in_order(targets: Iterable[Target]) -> list[Target]:
    """Return each once: classes by number, then regions as they come."""
    each = list(dict.fromkeys(targets))
    numbers = sorted(target for target in each if isinstance(target, int))
    return [*numbers, *(target for target in each if isinstance(target, str))]


def name_of(target: Target) -> str:
    """Return what a target is called."""
    return f"class {target}" if isinstance(target, int) else target


def views_of(both: Aligned, settings: EvaluationSettings) -> Iterator[View]:
    """Yield the view of the classes, then one of each region."""
    yield classes_of(both, settings)
    for name, values in settings.regions.items():
        masks = (_union(mask, values) for mask in (both.prediction, both.reference))
        prediction, reference = masks
        nodes = Instances.of(prediction), Instances.of(reference)
        raters = {rater: _union(mask, values) for rater, mask in both.raters.items()}
        yield View(name, prediction, reference, nodes, raters)


def classes_of(both: Aligned, settings: EvaluationSettings) -> View:
    """Return the view of the classes; of one class where a mask numbers its nodes."""
    masks = both.prediction, both.reference
    if settings.instances == "none":
        nodes = Instances.of(masks[0]), Instances.of(masks[1])
        return View("", *masks, nodes, both.raters)
    one, other = (_union(mask, values_of(mask)) for mask in masks)
    nodes = tuple(
        Instances.by_value(mask) if settings.instances in ("both", side) else Instances.of(union)
        for side, mask, union in zip(("prediction", "reference"), masks, (one, other), strict=True)
    )
    return View("", one, other, (nodes[0], nodes[1]))


def _union(mask: np.ndarray, values: list[int]) -> np.ndarray:
    """Return a mask whose only class is 1; what is unknown stays so."""
    number = np.zeros(max(int(mask.max(initial=0)), IGNORE, *values) + 1, np.uint8)
    number[values], number[IGNORE] = 1, IGNORE
    return number[mask]
