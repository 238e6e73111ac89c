"""Segment raw scans: masks on the original grid, node tables, pictures, one summary."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.case import Case
from ..core.errors import DataError, SettingsError, UserError
from ..core.files import hash_of, hash_of_file, read_json, write_json
from ..core.geometry import Grid
from ..core.modality import modality
from ..datasets.boxes import box_of
from ..datasets.manifest import check_id, read_manifest
from ..datasets.nifti import ENDINGS, read_volume, write_volume
from ..datasets.prepare_case import PrepareSettings, prepare_case, restore_probability
from ..datasets.resampling import resample
from ..datasets.store import PreparedCase
from ..evaluation.nodes import Row, node_table, write_nodes
from ..evaluation.pictures import case_picture
from .assessment import Progress
from .ensemble import Predictor, load_predictor, segmenter_folders
from .inference import Precision, predict_case, usable
from .settings import Flips, InferenceSettings

SUMMARY = "summary.json"
AROUND_MM = 15.0
"""Kept around the nodes when they are measured; SUVpeak looks 6.2 mm beyond a node."""


@dataclass(frozen=True)
class PredictSettings:
    """How one call predicts.

    Attributes:
        modalities: Use only these of each case.
        inference: Window, overlap and mirror images; the segmenter's own if not given.
        precision: Of the network.
        pictures: Whether to draw each case.
    """

    modalities: tuple[str, ...] | None = None
    inference: InferenceSettings | None = None
    precision: Precision = "auto"
    pictures: bool = True


def predict(
    segmenter: str | Path | Sequence[str | Path] | Predictor,
    inputs: str | Path | Mapping[str, str | Path],
    out: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    inference: InferenceSettings | None = None,
    fast: bool = False,
    flips: Flips | None = None,
    overlap: float | None = None,
    batch_size: int | None = None,
    precision: Precision = "auto",
    pictures: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Segment the cases of a manifest, or one case given by its files.

    Each case is brought to the segmenter's spacing, predicted, and the probabilities are taken back
    to the grid of its reference file (CT, where there is one), where the mask is decided. Writes
    `<case>.nii.gz`, `<case>_nodes.csv` and `.json`, `<case>.png`, and `summary.json` with times.
    A case that is there already, from the same files and weights, is not predicted again. A bad
    case does not stop the others.

    Args:
        segmenter: Segmenter folder, several or a folder of them (the mean of their probabilities
            counts), or a segmenter or ensemble in memory.
        inputs: Manifest, or file of each modality; such a case goes by the name of the first file,
            or of its folder if the file is named after its modality.
        out: Where to write.
        modalities: Use only these; the mask still lies on the grid of the case's reference.
        inference: Window, overlap and mirror images; the segmenter's own if not given.
        fast: Change them for a quick answer.
        flips: Then change this one of them.
        overlap: And this.
        batch_size: And this.
        precision: Of the network.
        pictures: Whether to draw each case.
        progress: Told after each case.

    Returns:
        Path of `summary.json`.

    Raises:
        DataError: If cases were bad; the others are predicted.
        SettingsError: If the segmenter never saw a modality that is asked for.
    """
    out = Path(out)
    model, identity = _load(segmenter)
    cases = _cases(inputs, model)
    asked = None if modalities is None else tuple(modalities)
    usable(model, model.modalities, asked)
    window = inference or model.config.inference
    changes = {"flips": flips, "overlap": overlap, "batch_size": batch_size}
    window = (window.fast() if fast else window).changed(**changes)
    settings = PredictSettings(asked, window, precision, pictures)
    rows: dict[str, Any] = read_json(out / SUMMARY)["cases"] if (out / SUMMARY).is_file() else {}
    bad: dict[str, str] = {}
    for number, case in enumerate(cases, 1):
        try:
            key = _key(case, identity, settings)
            if not _is_there(out, case.id, rows.get(case.id), key):
                about = {"segmenter": identity, "key": key}
                rows[case.id] = _predict_one(model, case, out, settings) | about
                write_json(out / SUMMARY, {"cases": rows})
        except UserError as error:
            bad[case.id] = str(error)
        if progress:
            progress(number, len(cases), case.id)
    write_json(out / SUMMARY, {"cases": rows, "failed": bad})
    if bad:
        raise DataError(
            f"every case must be good; {len(cases) - len(bad)} of {len(cases)} are predicted",
            found="\n  " + "\n  ".join(bad.values()),
            remedy="\nmend them and run the same command again",
        )
    return out / SUMMARY


def _load(segmenter: str | Path | Sequence[str | Path] | Predictor) -> tuple[Predictor, str]:
    """Return the network on the best device, and what tells it from others."""
    if isinstance(segmenter, nn.Module):
        weights = {name: float(t.double().sum()) for name, t in segmenter.state_dict().items()}
        return segmenter, hash_of([segmenter.config.model_dump(mode="json"), weights])
    given = [segmenter] if isinstance(segmenter, str | Path) else list(segmenter)
    model = load_predictor(*given)
    files = [
        hash_of_file(folder / name)
        for path in given
        for folder in segmenter_folders(path)
        for name in ("model.safetensors", "config.json")
    ]
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), hash_of(files)


def _cases(inputs: str | Path | Mapping[str, str | Path], model: Predictor) -> list[Case]:
    if not isinstance(inputs, Mapping):
        return read_manifest(inputs)
    volumes = {name: Path(file) for name, file in inputs.items()}
    if not volumes:
        raise DataError("a case needs at least one volume")
    for name, file in volumes.items():
        modality(name)
        if name not in _wanted(model):
            raise SettingsError(
                f"the segmenter must know {name!r}",
                remedy=f"it was trained on {', '.join(model.modalities)}: leave {file} out",
            )
    name, file = next(iter(volumes.items()))
    stem = next((file.name.removesuffix(e) for e in ENDINGS if file.name.endswith(e)), file.stem)
    if stem.lower() == name:
        stem = file.resolve().parent.name or stem
    return [Case(check_id(stem, file), stem, volumes)]


def _key(case: Case, identity: str, settings: PredictSettings) -> str:
    """Return what must be equal for a prediction to be as good as a new one."""
    for name, file in case.volumes.items():
        if not file.is_file():
            raise DataError(f"the {name} file must exist", case=case.id, file=file)
    inference = settings.inference.model_dump() if settings.inference else None
    files = {name: hash_of_file(file) for name, file in case.volumes.items()}
    return hash_of([identity, settings.modalities, inference, settings.precision, files])


def _is_there(out: Path, name: str, row: Mapping[str, Any] | None, key: str) -> bool:
    written = (out / f"{name}.nii.gz").is_file() and (out / f"{name}_nodes.json").is_file()
    return written and row is not None and row["key"] == key


def _predict_one(
    model: Predictor, case: Case, out: Path, settings: PredictSettings
) -> dict[str, Any]:
    """Predict one case and write its files; the mask last but for the summary."""
    began = time.monotonic()
    prepared = prepare_case(case, _preparation(model, case), with_label=False)
    names = usable(model, prepared.modalities, settings.modalities, case.id)
    read = time.monotonic()
    probability = predict_case(
        model, prepared, settings.inference, modalities=names, precision=settings.precision
    )
    predicted = time.monotonic()
    mask = mask_on_source(probability, prepared)
    nodes = nodes_on_source(mask, prepared.source_grid, case)
    write_nodes(out, case.id, nodes)
    if settings.pictures:
        _draw(out / f"{case.id}.png", prepared, probability.argmax(0))
    write_volume(out / f"{case.id}.nii.gz", mask, prepared.source_grid, np.uint8)
    ended = time.monotonic()
    return {
        "mask": f"{case.id}.nii.gz",
        "modalities": names,
        "nodes": len(nodes),
        "volume_ml": float((mask > 0).sum() * prepared.source_grid.voxel_ml),
        "seconds": {
            "read": round(read - began, 3),
            "predict": round(predicted - read, 3),
            "write": round(ended - predicted, 3),
        },
    }


def mask_on_source(probability: np.ndarray, prepared: PreparedCase) -> np.ndarray:
    """Return the most probable class of each voxel of the original grid; background outside.

    Probabilities are interpolated, not masks, so that borders stay as fine as they were predicted.

    Args:
        probability: `[classes, D, H, W]` on `prepared.grid`.
        prepared: The case that it belongs to.
    """
    best = np.zeros(prepared.source_grid.shape, np.float32)
    mask = np.zeros(prepared.source_grid.shape, np.uint8)
    total = np.zeros_like(best)
    for value in range(1, len(probability)):
        one = restore_probability(probability[value], prepared)
        np.putmask(mask, one > best, value)
        np.maximum(best, one, out=best)
        total += one
    # What is left belongs to the background, which wins a tie.
    mask[best <= 1 - total] = 0
    return mask


def nodes_on_source(mask: np.ndarray, grid: Grid, case: Case) -> list[Row]:
    """Measure the nodes of a mask on its own grid, with uptake from the original files."""
    canonical, axes, flips = grid.canonical()
    turned = np.flip(mask.transpose(axes), tuple(axis for axis in range(3) if flips[axis]))
    if not turned.any():
        return []
    start, stop = box_of(turned > 0)
    margin = [int(np.ceil(AROUND_MM / s)) for s in canonical.spacing]
    low = [max(a - m, 0) for a, m in zip(start, margin, strict=True)]
    high = [min(b + m, n) for b, m, n in zip(stop, margin, turned.shape, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    cut = turned[box]
    around = canonical.crop((low[0], low[1], low[2]), cut.shape)  # pyright: ignore[reportArgumentType]
    volumes = {}
    for name, file in case.volumes.items():
        volume = read_volume(file, case.id)
        volumes[name] = resample(volume.array, volume.grid, around, fill=modality(name).fill)
    return node_table(cut, around, volumes)


def _preparation(model: Predictor, case: Case) -> PrepareSettings:
    """Return how to prepare a case for a segmenter: as its training cases were."""
    config = model.config
    reference = config.preparation.reference
    return config.preparation.model_copy(
        update={
            "spacing": config.spacing,
            "modalities": _wanted(model),
            "reference": reference if reference in case.volumes else None,
        }
    )


def _wanted(model: Predictor) -> tuple[str, ...]:
    """Return the modalities of the training store: one that is not seen may still give the grid."""
    config = model.config
    return tuple(dict.fromkeys([*(config.preparation.modalities or ()), *config.modalities]))


def _draw(file: Path, prepared: PreparedCase, mask: np.ndarray) -> None:
    volumes = {
        name: np.asarray(prepared.images[i], np.float32)
        for i, name in enumerate(prepared.modalities)
    }
    case_picture(file, volumes, prepared.grid, None, mask, title=prepared.id)
