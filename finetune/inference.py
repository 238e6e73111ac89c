"""Predict one whole prepared case by a sliding window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, cast

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor, nn

from ..core.errors import DataError, SettingsError, did_you_mean
from ..core.geometry import IntTriple
from ..core.modality import modality
from ..core.precision import autocast_dtype
from ..datasets.store import PreparedCase, StoredCase
from .segmenter import Segmenter
from .settings import InferenceSettings

Precision = Literal["auto", "32", "bf16"]


@torch.inference_mode()
def predict_case(
    segmenter: Segmenter,
    case: StoredCase | PreparedCase,
    settings: InferenceSettings | None = None,
    *,
    modalities: Sequence[str] | None = None,
    precision: Precision = "auto",
) -> np.ndarray:
    """Return the probability of each class for every voxel of a case.

    Windows run on the segmenter's device and are summed on the CPU, weighted by a Gaussian, so the
    device needs room for one batch of windows only. A case smaller than the window is padded with
    what lies outside of a scan (air, no uptake).

    Args:
        segmenter: Any; it is put to evaluation mode meanwhile.
        case: On the segmenter's spacing.
        settings: Window and overlap; the segmenter's own if not given.
        modalities: Use only these of the case, as if it had no others.
        precision: As in training; `auto` is bfloat16 where the device computes with it.

    Returns:
        float32 `[classes, D, H, W]`, summing to 1 over the classes.

    Raises:
        SettingsError: If the segmenter does not know an asked modality.
        DataError: If the case has none of those that are wanted.
    """
    settings = settings or segmenter.config.inference
    names = usable(segmenter, case.modalities, modalities, case.id)
    device = next(segmenter.parameters()).device
    window = settings.window or segmenter.config.patch
    image, inner = _image(segmenter.modalities, case, names, window)
    available = torch.tensor([[name in names for name in segmenter.modalities]], device=device)

    def windows(batch: Tensor) -> Tensor:
        logits = segmenter(batch, available.expand(len(batch), -1))[0]
        return logits.float().softmax(1)

    with evaluating(segmenter), _autocast(device, precision):
        result = sliding_window_inference(
            image[None],
            window,
            settings.batch_size,
            windows,
            overlap=settings.overlap,
            mode="gaussian",
            sw_device=device,
            device=torch.device("cpu"),
        )
    return cast(Tensor, result)[0][(slice(None), *inner)].numpy()


def usable(
    segmenter: Segmenter,
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


def _image(
    channels: Sequence[str],
    case: StoredCase | PreparedCase,
    names: Sequence[str],
    window: IntTriple,
) -> tuple[Tensor, tuple[slice, ...]]:
    """Return the padded input of the network, and where the case lies in it.

    Modalities that are absent, or not to be used, are zeros.
    """
    sides = case.images.shape[1:]
    before = [max(w - s, 0) // 2 for w, s in zip(window, sides, strict=True)]
    inner = tuple(slice(b, b + s) for b, s in zip(before, sides, strict=True))
    padded = [max(w, s) for w, s in zip(window, sides, strict=True)]
    image = torch.zeros((len(channels), *padded))
    for channel, name in enumerate(channels):
        if name in names:
            rule = modality(name)
            image[channel] = float(rule.encode(np.array([rule.fill], np.float32))[0])
            row = np.asarray(case.images[case.modalities.index(name)], np.float32)
            image[(channel, *inner)] = torch.from_numpy(rule.encode(row))
    return image, inner


def _autocast(device: torch.device, precision: Precision) -> torch.autocast:
    dtype = autocast_dtype(device.type) if precision == "auto" else None
    dtype = torch.bfloat16 if precision == "bf16" else dtype
    return torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None)
