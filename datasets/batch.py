"""What loaders give to modules: one sample, and samples stacked into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NotRequired, TypedDict

import torch
from torch import Tensor


class Batch(TypedDict):
    """Samples stacked along a first axis; docs/data-model.md describes each entry.

    `label` is missing where labels are not read. `augmented` is there once the image is on the
    network's scale and has the sides of a patch, so that nothing is changed twice; with it comes
    `shift`, by how many mm each modality was moved against the patient, `[B, M, 3]`. `moments` is
    there if a modality is scaled by its volume's z-score: mean and deviation of each whole volume,
    float32 `[B, M, 2]`, 0 and 1 for the others.
    `annotated` is there if the label of some case leaves classes out: whether each was looked for,
    bool `[B, classes]`, the background included.
    `targets` is there if labels hold mixtures of several raters' answers: the fraction of each
    class that a number of the label stands for, float32 `[B, 256, classes]`.
    `maps` and `parts` are what a loss must know of the whole label (`losses.base.Maps`), if it asks
    its loader. `host` repeats seed and availability of each sample: whoever draws by them need not
    wait for a GPU to give them back.
    """

    image: Tensor
    available: Tensor
    regions: Tensor
    label: NotRequired[Tensor]
    case: list[str]
    seed: Tensor
    augmented: NotRequired[bool]
    shift: NotRequired[Tensor]
    moments: NotRequired[Tensor]
    annotated: NotRequired[Tensor]
    targets: NotRequired[Tensor]
    maps: NotRequired[Tensor]
    parts: NotRequired[int]
    host: NotRequired[list[tuple[int, list[bool]]]]


class Sample(TypedDict):
    """One item of a batch, before `collate`.

    The image is float16 in physical units, or float32 on the network's scale if `augmented`.
    """

    image: Tensor
    available: Tensor
    regions: Tensor
    label: NotRequired[Tensor]
    case: str
    seed: int
    augmented: NotRequired[bool]
    shift: NotRequired[Tensor]
    moments: NotRequired[Tensor]
    annotated: NotRequired[Tensor]
    targets: NotRequired[Tensor]


def on_host(batch: Batch) -> list[tuple[int, list[bool]]]:
    """Return seed and availability of each sample; of a batch without `host` they are fetched."""
    known = batch.get("host")
    if known is not None:
        return known
    return list(zip(batch["seed"].tolist(), batch["available"].tolist(), strict=True))


def collate(samples: Sequence[Sample], dtype: torch.dtype = torch.float32) -> Batch:
    """Stack samples into a batch.

    Args:
        samples: Items of a `PatchDataset`.
        dtype: Type of an image that is not augmented yet. Loaders keep float16: half of the bytes
            on the way to the device, where augmentation goes on in float32.
    """
    augmented = samples[0].get("augmented", False)
    kind = torch.float32 if augmented else dtype
    batch: Batch = {
        # The type changes while copying: one pass over the memory.
        "image": torch.empty((len(samples), *samples[0]["image"].shape), dtype=kind),
        "available": torch.stack([sample["available"] for sample in samples]),
        "regions": torch.stack([sample["regions"] for sample in samples]),
        "case": [sample["case"] for sample in samples],
        "seed": torch.tensor([sample["seed"] for sample in samples], dtype=torch.int64),
        "host": [(sample["seed"], sample["available"].tolist()) for sample in samples],
    }
    for row, sample in zip(batch["image"], samples, strict=True):
        row.copy_(sample["image"])
    labels = [sample["label"] for sample in samples if "label" in sample]
    if labels:
        batch["label"] = torch.stack(labels)
    moments = [sample["moments"] for sample in samples if "moments" in sample]
    if moments:
        batch["moments"] = torch.stack(moments)
    annotated = [sample["annotated"] for sample in samples if "annotated" in sample]
    if annotated:
        batch["annotated"] = torch.stack(annotated)
    targets = [sample["targets"] for sample in samples if "targets" in sample]
    if targets:
        batch["targets"] = torch.stack(targets)
    shifts = [sample["shift"] for sample in samples if "shift" in sample]
    if augmented:
        batch["augmented"] = True
        batch["shift"] = torch.stack(shifts)
    return batch
