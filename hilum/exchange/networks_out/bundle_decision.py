"""How a MONAI bundle decides: the operating point as steps of MONAI."""

from __future__ import annotations

from typing import Any

from hilum.segmenter.operating.point import OperatingPoint


def decision(point: OperatingPoint) -> dict[str, Any]:
    """Return the step from probabilities `[classes, ...]` to the class of each voxel, one channel.

    The mask is that of `operating.apply.decide`; components are not looked at.
    """
    if not point.thresholds:
        return {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}
    limits = f"torch.tensor({list(point.thresholds)}).view(-1, 1, 1, 1)"
    score = f"(x[1:] / {limits})"
    func = f"$lambda x: ({score}.argmax(0, True) + 1) * ({score}.amax(0, True) > 1)"
    return {"_target_": "Lambdad", "keys": "pred", "func": func}


def tempering(point: OperatingPoint) -> list[dict[str, Any]]:
    """Return the step that gives probabilities the temperature of a point; none for 1."""
    if point.temperature == 1:
        return []
    power = f"(x ** {1 / point.temperature!r})"
    func = f"$lambda x: {power} / {power}.sum(0, True).clamp_min(1e-30)"
    return [{"_target_": "Lambdad", "keys": "pred", "func": func}]
