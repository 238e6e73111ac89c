"""Predict one whole prepared case by a sliding window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hilum.core.conv3d_cpu_workaround import halved_small_maps
from hilum.core.errors import CheckpointError, DataError, SettingsError, did_you_mean
from hilum.core.precision import autocast_dtype
from hilum.datasets.io.scratch import empty

from ..operating.apply import tempered
from ..operating.probability import probability_of
from ..predictor import Predictor
from .network_input import AnyCase, PaddedInput
from .out_of_memory import memory_advice
from .settings import InferenceSettings, Precision, Uncertainty
from .sliding_window import Sweep, sweep

FLIPS: dict[str, list[tuple[int, ...]]] = {
    "none": [()],
    "w": [(), (4,)],
    "all": [axes for number in range(4) for axes in combinations((2, 3, 4), number)],
}
"""Axes of a batch to turn over, one forward pass each."""


class Slab(NamedTuple):
    """Some finished rows of a case.

    Attributes:
        rows: Where they lie along the first axis.
        probability: float32 `[classes, rows, H, W]`; valid until the next slab is asked for.
        uncertainty: float32 `[rows, H, W]`, if asked for.
    """

    rows: slice
    probability: np.ndarray
    uncertainty: np.ndarray | None


def predict_case(
    segmenter: Predictor,
    case: AnyCase,
    settings: InferenceSettings | None = None,
    *,
    modalities: Sequence[str] | None = None,
    precision: Precision = "auto",
) -> np.ndarray:
    """Return the probability of each class for every voxel of a case.

    See `predict_slabs`; a result above 512 MiB lies in a temporary file, not in memory.

    Returns:
        float32 `[classes, D, H, W]`, summing to 1 over the classes.
    """
    result = empty((segmenter.classes, *case.images.shape[1:]), np.float32)
    for slab in predict_slabs(
        segmenter, case, settings, modalities=modalities, precision=precision
    ):
        result[:, slab.rows] = slab.probability
    return result


def predict_mask(
    segmenter: Predictor,
    case: AnyCase,
    settings: InferenceSettings | None = None,
    *,
    modalities: Sequence[str] | None = None,
    precision: Precision = "auto",
) -> np.ndarray:
    """Return the most probable class of every voxel, uint8 `[D, H, W]`, on the case's grid.

    Equal to the argmax of `predict_case`, but only a window's rows of probabilities exist at once.
    """
    result = np.zeros(case.images.shape[1:], np.uint8)
    for slab in predict_slabs(
        segmenter, case, settings, modalities=modalities, precision=precision
    ):
        result[slab.rows] = slab.probability.argmax(0)
    return result


def predict_slabs(
    segmenter: Predictor,
    case: AnyCase,
    settings: InferenceSettings | None = None,
    *,
    modalities: Sequence[str] | None = None,
    precision: Precision = "auto",
    uncertainty: Uncertainty | None = None,
) -> Iterator[Slab]:
    """Yield the probability of each class, slab by slab from the first row on.

    Windows run on the segmenter's device and are averaged there, weighted by a Gaussian. Next to
    the network it needs room for a batch of windows, and for as many rows of the case as a window
    has: how long a scan is does not matter. A case smaller than the window is padded with what lies
    outside of a scan (air, no uptake). Probabilities of ensemble members and mirror images are
    averaged, and have the temperature of the segmenter's operating point.

    Args:
        segmenter: Any, or an ensemble; it is in evaluation mode until the last slab.
        case: On the segmenter's spacing.
        settings: Window, overlap and mirror images; the segmenter's own if not given.
        modalities: Use only these of the case, as if it had no others.
        precision: As in training; `auto` is bfloat16 where the device computes with it.
        uncertainty: `entropy` of the mean probability as a fraction of the most there can be, or
            `variance` of the foreground's probability over members and mirror images (0 with one
            member and none of those).

    Raises:
        SettingsError: If the segmenter does not know an asked modality.
        DataError: If the case has none of those that are wanted.
    """
    settings = settings or segmenter.config.inference
    names = usable(segmenter, case.modalities, modalities, case.id)
    device = next(segmenter.parameters()).device
    window = settings.window or segmenter.config.patch
    zscored = segmenter.config.zscored
    image = PaddedInput(segmenter.modalities, case, names, window, device, zscored)
    plan = Sweep(
        image.sides,
        window,
        settings.overlap,
        settings.batch_size,
        image.holds_body if settings.skip_outside else None,
    )
    available = torch.tensor([[name in names for name in segmenter.modalities]], device=device)
    spread = uncertainty == "variance"
    network = _network(segmenter, available, FLIPS[settings.flips], spread, precision)
    nothing = [1.0] + [0.0] * (segmenter.classes - 1 + spread)
    step = steps(segmenter)
    temperature = segmenter.config.operating_point.temperature
    regions = segmenter.config.regions
    with (
        evaluating(segmenter),
        halved_small_maps(segmenter),
        memory_advice(case.id, device, window, settings.batch_size, step),
    ):
        for rows, values in sweep(plan, image.read, network, nothing):
            _check_finite(values, case.id)
            found = _Found(rows, values, image.inner, segmenter.classes, bool(regions))
            yield from _slab(found, uncertainty, temperature)


def _check_finite(values: Tensor, case: str) -> None:
    """Raise an error if the network says nothing: an empty mask would pass for a healthy patient.

    Raises:
        CheckpointError: If a probability is not finite.
    """
    if not bool(torch.isfinite(values).all()):
        raise CheckpointError(
            "a network must give finite probabilities",
            case=case,
            found="some that are not",
            remedy="the weights or the scan overflow: look at the scan with `hilum check`",
        )


def steps(model: Predictor) -> tuple[int, ...]:
    """Return what the sides of a window must be divisible by."""
    strides = [
        encoder.strides[-1]
        for member in model.networks
        for encoder in getattr(member, "encoders", {}).values()
    ]
    return tuple(max(along) for along in zip((1, 1, 1), *strides, strict=True))


def usable(
    segmenter: Predictor,
    present: Sequence[str],
    asked: Sequence[str] | None = None,
    case: str | None = None,
) -> tuple[str, ...]:
    """Return the modalities to predict from: those that are known, present, and asked for."""
    known = segmenter.modalities
    for name in asked or ():
        if name not in known:
            raise SettingsError(
                f"the segmenter must know {name!r}{did_you_mean(name, known)}",
                remedy=f"it was trained on {', '.join(known)}",
            )
    names = tuple(m for m in known if m in present and (asked is None or m in asked))
    if not names:
        raise DataError(
            f"the case must have one of {', '.join(asked or known)}",
            case=case,
            found=", ".join(present) or "nothing",
            remedy="leave the case out, or use a segmenter that was trained on what it has",
        )
    return names


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module to evaluation mode for a while."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)


def _network(
    model: Predictor,
    available: Tensor,
    flips: Sequence[tuple[int, ...]],
    spread: bool,
    precision: Precision,
) -> Callable[[Tensor], Tensor]:
    """Return what makes probabilities of a batch of windows, and the variance of the foreground."""
    members = model.networks
    number = len(members) * len(flips)
    overlapping = bool(model.config.regions)

    @torch.inference_mode()
    def run(batch: Tensor) -> Tensor:
        have = available.expand(len(batch), -1)
        mean = square = None
        for axes in flips:
            seen = batch.flip(axes) if axes else batch
            for member in members:
                with _autocast(batch.device, precision):
                    logits = member(seen, have)[0]
                found = probability_of(logits.float(), overlapping)
                found = found.flip(axes) if axes else found
                mean = found if mean is None else mean.add_(found)
                if spread:
                    part = (1 - found[:, :1]).square_()
                    square = part if square is None else square.add_(part)
        assert mean is not None
        mean = mean / number
        if square is None:
            return mean
        variance = square / number - (1 - mean[:, :1]).square_()
        return torch.cat([mean, variance.clamp_min_(0)], 1)

    return run


class _Found(NamedTuple):
    """Averages of some padded rows, and where the case lies in them."""

    rows: slice
    values: Tensor
    inner: tuple[slice, ...]
    classes: int
    overlapping: bool


def _slab(of: _Found, uncertainty: Uncertainty | None, temperature: float) -> Iterator[Slab]:
    """Yield what lies inside the case of some padded rows."""
    rows, values, (depth, height, width), classes, overlapping = of
    low, high = max(rows.start, depth.start), min(rows.stop, depth.stop)
    if low >= high:
        return
    found = values[:, low - rows.start : high - rows.start, height, width].cpu().numpy()
    if overlapping:  # windows, members and mirror images have each a likeliest region
        found[0] = 1 - found[1:classes].max(0)
    probability = tempered(found[:classes], temperature, overlapping)
    doubt = None
    if uncertainty == "variance":
        doubt = found[classes]
    elif uncertainty == "entropy":
        doubt = entropy_of(probability, overlapping)
    yield Slab(slice(low - depth.start, high - depth.start), probability, doubt)


def entropy_of(probability: np.ndarray, overlapping: bool) -> np.ndarray:
    """Return the entropy as a fraction of its maximum; of regions the mean over them."""
    if not overlapping:
        each = -probability * np.log(np.maximum(probability, 1e-12))
        return each.sum(0) / np.log(len(probability))
    both = np.stack([probability[1:], 1 - probability[1:]])
    return -(both * np.log(np.maximum(both, 1e-12))).sum(0).mean(0) / np.log(2)


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    # The guard of training is not needed: the processor's bug touches gradients alone.
    dtype = autocast_dtype(device.type) if precision == "auto" else None
    dtype = torch.bfloat16 if precision == "bf16" else dtype
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
