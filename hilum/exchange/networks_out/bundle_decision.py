"""How a MONAI bundle decides: the operating point as steps of MONAI."""

from __future__ import annotations

from typing import Any

from hilum.segmenter.operating.point import OperatingPoint


def decision(point: OperatingPoint) -> dict[str, Any]:
    """Return the step from probabilities `[classes, ...]` to the class of each voxel, one channel.

    The mask is that of `operating.apply.decide`; `filtering` has the steps for its components.
    """
    if not point.thresholds:
        return {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
    limits = f"torch.tensor({list(point.thresholds)}).view(-1, 1, 1, 1)"
    score = f"(x[1:] / {limits})"
    func = f"$lambda x: ({score}.argmax(0, True) + 1) * ({score}.amax(0, True) > 1)"
    return {"_target_": "Lambdad", "keys": "pred", "func": func}


def filtering(point: OperatingPoint, classes: int) -> list[dict[str, Any]]:
    """Return the steps that fill holes and drop components, class by class, as `apply.clean` does.

    MONAI's own filters count all voxels of a class as one object where there are several classes,
    or need scikit-image; these need SciPy. What `not_expressed` names is left out.

    Args:
        point: The operating point.
        classes: Background included.
    """
    ml = "abs(float(np.linalg.det(np.asarray(x.affine)[:3, :3]))) / 1000"
    large = f"np.bincount(labels.ravel()) * {ml} >= {point.min_volume_ml * (1 - 1e-9)!r}"
    small = f"np.bincount(labels.ravel()) * {ml} <= {(point.max_volume_ml or 0) * (1 + 1e-9)!r}"
    order = "np.argsort(-np.bincount(labels.ravel())[1:], kind='stable')"
    most = f"np.isin(np.arange(labels.max() + 1), 1 + {order}[:{point.at_most}])"
    steps = []
    for value in range(1, classes):
        own = f"np.asarray(x[0] == {value})"
        holes = f"ndimage.binary_fill_holes({own}) & np.asarray(x[0] == 0)"
        funcs = [f"x + {value} * torch.from_numpy({holes})[None]"] if point.fill_holes else []
        filters = (
            (large, _by_volume(point)),
            (small, point.max_volume_ml is not None),
            (most, point.at_most),
        )
        for kept, asked in filters:
            lost = f"{own} & ~({kept})[labels]"
            parts = f"ndimage.label({own}, np.ones((3, 3, 3)))[0]"
            if asked:
                drop = f"x * torch.from_numpy(~({lost}))[None]"
                funcs.append(f"(lambda labels: {drop})({parts})")
        steps += [{"_target_": "Lambdad", "keys": "pred", "func": f"$lambda x: {f}"} for f in funcs]
    return steps


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


def tempering(point: OperatingPoint) -> list[dict[str, Any]]:
    """Return the step that gives probabilities the temperature of a point; none for 1."""
    if point.temperature == 1:
        return []
    power = f"(x ** {1 / point.temperature!r})"
    func = f"$lambda x: {power} / {power}.sum(0, True).clamp_min(1e-30)"
    return [{"_target_": "Lambdad", "keys": "pred", "func": func}]
