"""Which modality a prediction is based on: exact Shapley values per voxel and per node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch import Tensor
from torch.nn import functional as F

from hilum.core.connected_components import components
from hilum.core.geometry import Grid
from hilum.core.outputs import output
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.store.case_store import CaseStore, StoredCase

from ..inference.network_input import PaddedInput
from ..inference.predict_case import evaluating, predict_case, usable
from ..inference.settings import Precision
from ..segmenter import Segmenter
from .explain_picture import map_picture, part_picture
from .prepared_cases import Progress, write_rows

Maps = dict[str, np.ndarray]
"""float32 `[D, H, W]` by name."""

Value = Callable[[frozenset[str]], np.ndarray]
"""What a set of modalities, never empty, is worth in every voxel."""


def shapley(value: Value, names: Sequence[str], nothing: float) -> Maps:
    r"""Divide a prediction among the modalities that it was made from.

    $$\phi_m = \sum_{S \subseteq M \setminus m} \frac{|S|!\,(|M|-|S|-1)!}{|M|!}
      \bigl(v(S \cup m) - v(S)\bigr), \qquad \sum_m \phi_m = v(M) - v(\emptyset).$$

    Exact: every subset is asked once, which for two modalities means three predictions.

    Source:
        Shapley 1953; Lundberg and Lee, NeurIPS 2017, arXiv:1705.07874, for predictions. Here a
        modality is out by being marked absent, not by replaced values: that is what the network
        learned to handle.

    Args:
        value: Worth of a set.
        names: The modalities.
        nothing: Worth of the empty set.
    """
    worth: dict[frozenset[str], np.ndarray | float] = {frozenset(): nothing}
    for size in range(1, len(names) + 1):
        for chosen in combinations(names, size):
            worth[frozenset(chosen)] = value(frozenset(chosen))
    found = {}
    for name in names:
        rest = [other for other in names if other != name]
        total: np.ndarray | float = 0.0
        for size in range(len(names)):
            share = factorial(size) * factorial(len(rest) - size) / factorial(len(names))
            for chosen in combinations(rest, size):
                total = total + share * (
                    worth[frozenset((*chosen, name))] - worth[frozenset(chosen)]
                )
        found[name] = np.asarray(total, np.float32)
    return found


class Contributions(NamedTuple):
    """What a prediction is based on.

    Attributes:
        probability: Of foreground, float32 `[D, H, W]`.
        parts: Shapley value of each modality that the case has, of this shape.
        drops: What the probability loses if that modality alone is taken away.
    """

    probability: np.ndarray
    parts: Maps
    drops: Maps


def contributions(
    segmenter: Segmenter, case: StoredCase, *, precision: Precision = "auto"
) -> Contributions:
    """Return the probability of foreground and each modality's part of it.

    The parts sum to the probability minus the fraction of foreground that the segmenter expected
    before training (`prior`), its answer to no modality at all. What is lost without a modality
    (ablation) does not sum to anything: modalities that agree can replace each other.

    Args:
        segmenter: To be explained.
        case: A prepared case.
        precision: Of the network.
    """
    names = usable(segmenter, case.modalities, None, case.id)
    nothing = segmenter.config.prior * (segmenter.classes - 1)
    predicted: dict[frozenset[str], np.ndarray] = {}

    def value(chosen: frozenset[str]) -> np.ndarray:
        kept = [name for name in names if name in chosen]
        probability = predict_case(segmenter, case, modalities=kept, precision=precision)
        predicted[chosen] = 1 - probability[0]
        return predicted[chosen]

    parts = shapley(value, names, nothing)
    whole = predicted[frozenset(names)]
    drops = {name: whole - predicted.get(frozenset(names) - {name}, nothing) for name in names}
    return Contributions(whole, parts, drops)


@torch.inference_mode()
def insights(segmenter: Segmenter, case: StoredCase) -> Maps:
    """Return the maps that the fusion strategy has of itself, such as gates, on the case's grid."""
    names = usable(segmenter, case.modalities, None, case.id)
    window = segmenter.config.patch
    sides = case.grid.shape
    whole = PaddedInput(
        segmenter.modalities, case, names, sides, torch.device("cpu"), segmenter.config.zscored
    )
    image = whole.read(0, sides[0])[None]
    available = torch.tensor([[name in names for name in segmenter.modalities]])
    keys: list[str] = []

    def windows(batch: Tensor) -> Tensor:
        volumes = {m: batch[:, c : c + 1] for c, m in enumerate(segmenter.modalities)}
        maps = segmenter.strategy.insight(volumes, available.expand(len(batch), -1))
        keys[:] = list(maps)
        full = [F.interpolate(x.float(), batch.shape[2:], mode="nearest") for x in maps.values()]
        return torch.cat(full, 1) if full else batch[:, :1]

    with evaluating(segmenter):
        found = sliding_window_inference(image, window, 1, windows, overlap=0.25, mode="gaussian")
    return dict(zip(keys, cast(Tensor, found)[0].numpy(), strict=False))


def node_rows(found: Contributions, grid: Grid, case: str) -> list[dict[str, float | str | int]]:
    """Return what each predicted node (probability above 1/2) is based on, the largest first.

    Returns:
        `case, node, centroid_mm, volume_ml, probability`, and per modality `part_<name>` and
        `drop_<name>`, means over the node; the parts sum to the probability minus the prior.
    """
    labels, count = components(found.probability > 0.5)
    rows: list[dict[str, float | str | int]] = []
    for number in range(1, count + 1):
        inside = labels == number
        centre = grid.to_world(np.argwhere(inside).mean(0))
        row: dict[str, float | str | int] = {
            "case": case,
            "node": 0,
            "centroid_mm": " ".join(f"{float(v):.1f}" for v in centre),
            "volume_ml": float(inside.sum() * grid.voxel_ml),
            "probability": float(found.probability[inside].mean()),
        }
        row |= {f"part_{m}": float(x[inside].mean()) for m, x in found.parts.items()}
        rows.append(row | {f"drop_{m}": float(x[inside].mean()) for m, x in found.drops.items()})
    rows.sort(key=lambda row: -float(row["volume_ml"]))
    for number, row in enumerate(rows, 1):
        row["node"] = number
    return rows


def explain(
    segmenter: Segmenter,
    store: CaseStore,
    ids: Sequence[str],
    folder: Path,
    *,
    precision: Precision = "auto",
    progress: Progress | None = None,
) -> Path:
    """Write what each prediction is based on, and return the table of nodes.

    Per case `<case>_part_<modality>.nii.gz`, `<case>_drop_<modality>.nii.gz` and `<case>.png`; if
    the strategy has maps of itself `<case>_<map>.nii.gz` and `<case>_maps.png`; for all
    `nodes.csv`. Everything lies on the prepared grid.

    Args:
        segmenter: To be explained.
        store: Holds the cases.
        ids: Cases.
        folder: Where to write.
        precision: Of the network.
        progress: Called after each case.
    """
    with output(folder, "explain") as place:
        return _explain(segmenter, store, ids, place, precision, progress)


def _explain(
    segmenter: Segmenter,
    store: CaseStore,
    ids: Sequence[str],
    folder: Path,
    precision: Precision,
    progress: Progress | None,
) -> Path:
    rows = []
    for number, name in enumerate(ids, 1):
        case = store[name]
        found = contributions(segmenter, case, precision=precision)
        own = insights(segmenter, case)
        named = {f"part_{key}": part for key, part in found.parts.items()}
        named |= {f"drop_{key}": drop for key, drop in found.drops.items()}
        for key, volume in (named | own).items():
            write_volume(folder / f"{name}_{key}.nii.gz", volume, case.grid)
        part_picture(folder / f"{name}.png", case, found.probability, found.parts)
        if own:
            map_picture(folder / f"{name}_maps.png", case, found.probability, own)
        rows += node_rows(found, case.grid, name)
        if progress:
            progress(number, len(ids), name)
    write_rows(folder / "nodes.csv", rows)
    return folder / "nodes.csv"
