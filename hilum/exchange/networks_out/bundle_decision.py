"""How a MONAI bundle decides: the operating point as steps of MONAI."""

from __future__ import annotations

from typing import Any

from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.operating.regions import Regions


def probabilities(overlapping: bool) -> str:
    """Return the expression that makes probabilities of logits `z`, `[windows, classes, ...]`.

    Args:
        overlapping: Whether the classes are regions: each is then decided by itself.
    """
    if not overlapping:
        return "torch.softmax(z, 1)"
    each = "torch.sigmoid(z[:, 1:] - z[:, :1])"
    return f"torch.cat([1 - {each}.amax(1, True), {each}], 1)"


def decision(point: OperatingPoint, regions: Regions | None = None) -> dict[str, Any]:
    """Return the step from probabilities `[classes, ...]` to the class of each voxel, one channel.

    The mask is that of `operating.apply.decide`; `filtering` has the steps for its components.
    """
    if regions is not None:
        limits = point.thresholds or (0.5,) * len(regions.order)
        return _lambda(
            _written([f"x[{n}:{n + 1}] > {t}" for n, t in enumerate(limits, 1)], regions)
        )
    if not point.thresholds:
        return {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
    limits = f"torch.tensor({list(point.thresholds)}).view(-1, 1, 1, 1)"
    score = f"(x[1:] / {limits})"
    return _lambda(f"({score}.argmax(0, True) + 1) * ({score}.amax(0, True) > 1)")


def filtering(
    point: OperatingPoint, classes: int, regions: Regions | None = None
) -> list[dict[str, Any]]:
    """Return the steps that fill holes and drop components, class by class, as `apply.clean` does.

    MONAI's own filters count all voxels of a class as one object where there are several classes,
    or need scikit-image; these need SciPy. What `not_expressed` names is left out. Regions are
    taken apart into a channel each before, and written into one mask again.

    Args:
        point: The operating point.
        classes: Background included.
        regions: What the classes are, if they may overlap.
    """
    if regions is None:
        return [step for value in range(1, classes) for step in _of_class(point, 0, value, 1)]
    count = len(regions.order)
    steps = [step for n in range(count) for step in _of_class(point, n, 1, count)]
    if not steps:
        return []
    each = ", ".join(f"np.isin(np.asarray(x[0]), {list(own)})" for own in regions.values)
    apart = f"torch.ones_like(x) * torch.from_numpy(np.stack([{each}]).astype(np.float32))"
    again = _written([f"x[{n}:{n + 1}] > 0.5" for n in range(count)], regions)
    return [_lambda(apart), *steps, _lambda(again)]


def _of_class(
    point: OperatingPoint, channel: int, value: int, channels: int
) -> list[dict[str, Any]]:
    """Return the steps for the voxels of a value in one channel of several."""
    ml = "abs(float(np.linalg.det(np.asarray(x.affine)[:3, :3]))) / 1000"
    large = f"np.bincount(labels.ravel()) * {ml} >= {point.min_volume_ml * (1 - 1e-9)!r}"
    small = f"np.bincount(labels.ravel()) * {ml} <= {(point.max_volume_ml or 0) * (1 + 1e-9)!r}"
    order = "np.argsort(-np.bincount(labels.ravel())[1:], kind='stable')"
    most = f"np.isin(np.arange(labels.max() + 1), 1 + {order}[:{point.at_most}])"
    filters = (
        (large, _by_volume(point)),
        (small, point.max_volume_ml is not None),
        (most, point.at_most),
    )
    here = f"(np.arange({channels}) == {channel})[:, None, None, None]"
    own = f"np.asarray(x[{channel}] == {value})"
    funcs = []
    if point.fill_holes:
        holes = f"ndimage.binary_fill_holes({own}) & np.asarray(x[{channel}] == 0)"
        funcs.append(f"x + {value} * torch.from_numpy({here} & ({holes})[None])")
    for kept, asked in filters:
        lost = f"{own} & ~({kept})[labels]"
        parts = f"ndimage.label({own}, np.ones((3, 3, 3)))[0]"
        if asked:
            drop = f"x * torch.from_numpy(~({here} & ({lost})[None]))"
            funcs.append(f"(lambda labels: {drop})({parts})")
    return [_lambda(func) for func in funcs]


def _written(inside: list[str], regions: Regions) -> str:
    """Return the expression of one mask of regions, later ones over earlier ones."""
    mask = "torch.zeros_like(x[:1])"
    for value, one in zip(regions.order, inside, strict=True):
        mask = f"torch.where({one}, {float(value)}, {mask})"
    return mask


def _lambda(expression: str) -> dict[str, Any]:
    return {"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {expression}"}


def not_expressed(point: OperatingPoint) -> str:
    """Return what of a point a bundle cannot do, in words; nothing if it does all."""
    if point.suv_floor is None:
        return ""
    return (
        f"The SUV floor of {point.suv_floor:g} and the minimum volume of {point.min_volume_ml:.3g} "
        "ml that goes with it are not applied in this bundle, whose mask may hold smaller, colder "
        "components: SUVmax of a component is not known where its mask is decided."
    )


def _by_volume(point: OperatingPoint) -> bool:
    return point.min_volume_ml > 0 and point.suv_floor is None


def tempering(point: OperatingPoint, overlapping: bool = False) -> list[dict[str, Any]]:
    """Return the step that gives probabilities the temperature of a point; none for 1."""
    if point.temperature == 1:
        return []
    power = f"(x ** {1 / point.temperature!r})"
    if overlapping:
        # The background's channel decides nothing where classes overlap.
        return [_lambda(f"{power} / ({power} + (1 - x).clamp_min(0) ** {1 / point.temperature!r})")]
    return [_lambda(f"{power} / {power}.sum(0, True).clamp_min(1e-30)")]
