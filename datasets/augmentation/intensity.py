"""Change intensities of one channel in physical units: what scanners, doses and filters do."""

from __future__ import annotations

import torch
from torch import Tensor

from hilum.core.geometry import Triple
from hilum.core.modality import Modality

from .plan import Strengths
from .settings import AugmentationSettings
from .spatial import coarse, gaussian, separable


def blur(image: Tensor, fwhm_mm: float, spacing: Triple) -> Tensor:
    """Widen the point spread of `[D, H, W]` by a Gaussian.

    Args:
        image: One channel.
        fwhm_mm: Full width at half maximum.
        spacing: mm per voxel.
    """
    weights = [gaussian(n, fwhm_mm / s) for n, s in zip(image.shape, spacing, strict=True)]
    return separable(image[None], weights)[0]


def low_resolution(image: Tensor, zoom: float) -> Tensor:
    """Return `[D, H, W]` as if scanned with `zoom` times as many voxels along each axis.

    Averages before it interpolates back, as thick slices do; nnU-Net picks single voxels.
    """
    return separable(image[None], [coarse(n, zoom) for n in image.shape])[0]


def window_noise(image: Tensor, rule: Modality, level: float, generator: torch.Generator) -> Tensor:
    """Add white Gaussian noise; `level` is its standard deviation as a fraction of the window."""
    return image + _normal(image, generator) * (level * (rule.high - rule.low))


def count_noise(
    image: Tensor, level: float, grain_mm: float, spacing: Triple, generator: torch.Generator
) -> Tensor:
    """Add noise as of a shorter acquisition: its variance grows with activity, never below 0 SUV.

    The noise is smooth, as reconstructed and filtered noise is.

    Args:
        image: One channel in SUV.
        level: Standard deviation at SUV 1.
        grain_mm: Full width at half maximum of a grain.
        spacing: mm per voxel.
        generator: On the image's device.
    """
    field = _normal(image, generator)
    if grain_mm > 0:
        weights = [gaussian(n, grain_mm / s) for n, s in zip(image.shape, spacing, strict=True)]
        field = separable(field[None], weights)[0]
        for axis, matrix in enumerate(weights):
            deviation = matrix.square().sum(1).sqrt().to(field.device, non_blocking=True)
            field = field / deviation.view([-1 if axis == other else 1 for other in range(3)])
    return (image + field * image.clamp(min=0).sqrt() * level).clamp_(min=0)


def tone(
    image: Tensor,
    rule: Modality,
    *,
    contrast: float = 1.0,
    brightness: float = 0.0,
    gamma: float = 1.0,
    inverted: bool = False,
) -> Tensor:
    """Change contrast, brightness and gamma inside a modality's window; the rest saturates.

    Args:
        image: One channel.
        rule: The modality, for its window.
        contrast: Factor about the middle of the window.
        brightness: Shift as a fraction of the window.
        gamma: Power on the window scaled to 0..1.
        inverted: Apply the power from the bright end.
    """
    width = rule.high - rule.low
    factor = contrast / width
    # (x - middle) * contrast / width + 1/2 + brightness, on the window scaled to 0..1.
    x = image.clamp(rule.low, rule.high) * factor
    x += 0.5 + brightness - (rule.low + rule.high) / 2 * factor
    x.clamp_(0, 1)
    if gamma != 1:
        x = 1 - (1 - x) ** gamma if inverted else x**gamma
    return x * width + rule.low


def changed(
    x: Tensor,
    rule: Modality,
    change: Strengths,
    settings: AugmentationSettings,
    spacing: Triple,
    generator: torch.Generator,
    moments: Tensor | None = None,
) -> Tensor:
    """Return one channel after what was drawn for it: first resolution, then noise, then scale.

    A network that sees the z-score sees values beyond the window, so tone does not saturate there.
    """
    for name in ("resolution", "blur"):
        if name in change:
            x = blur(x, change[name], spacing)
    if "low_resolution" in change:
        x = low_resolution(x, change["low_resolution"])
    if "count_noise" in change:
        x = count_noise(x, change["count_noise"], settings.grain_mm, spacing, generator)
    if "noise" in change:
        x = window_noise(x, rule, change["noise"], generator)
    if "suv_scale" in change:
        x = x * change["suv_scale"]
    if moments is not None and change.keys() & {"contrast", "brightness"}:
        mean, deviation = moments
        shift = mean + change.get("brightness", 0.0) * deviation
        x = (x - mean) * change.get("contrast", 1.0) + shift
    elif moments is None and change.keys() & {"contrast", "brightness", "gamma"}:
        x = tone(
            x,
            rule,
            contrast=change.get("contrast", 1.0),
            brightness=change.get("brightness", 0.0),
            gamma=change.get("gamma", 1.0),
            inverted=bool(change.get("inverted", 0.0)),
        )
    return x


def _normal(image: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(image.shape, generator=generator, device=image.device)
