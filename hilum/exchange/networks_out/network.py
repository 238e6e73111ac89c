"""A segmenter as one traceable function, and its outputs in every situation, to compare with."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hilum.core.errors import CheckpointError
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.operating.regions import Regions
from hilum.segmenter.segmenter import Segmenter

Case = tuple[Tensor, Tensor]
"""An image `[B, M, D, H, W]` on the network's scale, and `[B, M]` booleans."""


class FinestLogits(nn.Module):
    """From image and availability to float32 logits at full resolution, nothing else."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter.eval()

    def forward(self, image: Tensor, available: Tensor) -> Tensor:
        """Map `[B, M, D, H, W]` and `[B, M]` to `[B, classes, D, H, W]`."""
        return self.segmenter(image, available)[0].float()


@contextmanager
def tracing(form: str) -> Iterator[None]:
    """Let a segmenter be traced: without checks on values, without other tools' advice.

    What fails inside is one clear error.
    """
    # A check that looks at values cannot stand in a graph.
    rooms = [m for n, m in sys.modules.items() if n.startswith("hilum.fusion.")]
    checked = [(room, room.check_available) for room in rooms if hasattr(room, "check_available")]  # pyright: ignore[reportAttributeAccessIssue]
    for room, _ in checked:
        room.check_available = _nothing  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"every operation of the network must exist in {form}",
            found=_reason(error),
            remedy="export to another target, or train with another encoder or fusion",
        ) from error
    finally:
        for room, check in checked:
            room.check_available = check  # pyright: ignore[reportAttributeAccessIssue]


def cases(segmenter: Segmenter) -> list[Case]:
    """Return one case with every modality, and a batch in which every subset of them comes up.

    A modality that is absent holds NaN, which must not reach an output.
    """
    generator = torch.Generator().manual_seed(0)
    number = len(segmenter.modalities)
    subsets = [row for row in itertools.product([True, False], repeat=number) if any(row)]
    subsets = (subsets * 2)[: max(len(subsets), 2)]
    found = []
    for rows in ([subsets[0]], subsets):
        available = torch.tensor(rows)
        shape = (len(rows), number, *segmenter.config.patch)
        image = torch.rand(shape, generator=generator) * 2 - 1
        image[~available] = float("nan")
        found.append((image, available))
    return found


def example(segmenter: Segmenter) -> Case:
    """Return a batch of two to trace with; other sizes are then compared."""
    image, available = cases(segmenter)[1]
    return image[-2:], available[-2:]


def check_equal(
    run: Callable[[Tensor, Tensor], Tensor],
    segmenter: Segmenter,
    tolerance: float,
    form: str,
) -> dict[str, Any]:
    """Return the largest absolute difference of an exported network from ours, on every case.

    Raises:
        CheckpointError: If it exceeds the tolerance.
    """
    largest = scale = 0.0
    compared = 0
    for image, available in cases(segmenter):
        with torch.no_grad():
            ours = segmenter(image, available)[0].float()
            theirs = run(image, available)
        difference = float((ours - theirs).abs().max())
        # NaN is larger than any tolerance.
        largest = max(largest, float("inf") if math.isnan(difference) else difference)
        scale, compared = max(scale, float(ours.abs().max())), compared + len(image)
    if largest > tolerance:
        raise CheckpointError(
            f"outputs of the {form} network must equal ours within {tolerance:g}",
            found=f"{largest:.3g}",
            remedy="raise tolerance if that is good enough",
        )
    return {
        "largest_difference": largest,
        "largest_logit": scale,
        "compared_cases": compared,
        "tolerance": tolerance,
    }


def interface(segmenter: Segmenter) -> dict[str, Any]:
    """Return what inputs and outputs mean, for `export.json`."""
    config = segmenter.config
    sides = list(config.patch)
    return {
        # Logits go out: whoever uses them decides as this says.
        "operating_point": config.operating_point.model_dump(mode="json"),
        "inputs": {
            "image": {
                "type": "float32",
                "shape": ["batch", len(segmenter.modalities), *sides],
                "channels": list(segmenter.modalities),
                "scale": "config.json, intensity",
                **_zscored(config.zscored),
                "spacing": list(config.spacing),
                "orientation": config.orientation,
            },
            "available": {"type": "bool", "shape": ["batch", len(segmenter.modalities)]},
        },
        **_regions(config.overlapping),
        "outputs": {
            "logits": {"type": "float32", "shape": ["batch", segmenter.classes, *sides]},
        },
    }


def check_windows(config: SegmenterConfig, form: str) -> None:
    """Refuse z-scores where what scales the input knows no field of view.

    Raises:
        CheckpointError: If a modality has no fixed window.
    """
    if config.zscored:
        raise CheckpointError(
            f"{form} scales by fixed windows: its transforms know no field of view",
            found=f"{', '.join(config.zscored)} by each volume's mean and deviation",
            remedy="export to onnx, torchscript or pt2, and scale the input as export.json says, "
            "or fine-tune with scale set to window",
        )


def _regions(regions: Regions | None) -> dict[str, Any]:
    """Say how overlapping outputs become a mask; nothing for classes."""
    if regions is None:
        return {}
    return {
        "regions": {
            "names": list(regions.names),
            "values": [list(own) for own in regions.values],
            "regions_class_order": list(regions.order),
            "probability": "sigmoid(logits[:, 1:] - logits[:, :1])",
        }
    }


def _zscored(names: Sequence[str]) -> dict[str, str]:
    """Say how to scale the channels that have no fixed window; nothing if there are none."""
    how = "(x - mean) / deviation of the whole scan inside its field of view, 0 outside of it"
    return {"zscore": f"{', '.join(names)}: {how}"} if names else {}


def open_segmenter(folder: Path) -> Segmenter:
    """Read a segmenter on the processor, its parameters fixed."""
    return Segmenter.from_pretrained(folder).requires_grad_(False)


def _nothing(available: Tensor) -> None:
    """Stand in for a check."""


def _reason(error: BaseException) -> str:
    """Return the line of an error, or of what caused it, that says most."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) and cause not in chain:
        chain.append(cause)
    texts = [" ".join(str(item).split()) for item in reversed(chain)]
    told = next((text for text in texts if text), type(error).__name__)
    return told[:300]
