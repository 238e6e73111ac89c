"""Segment the scans of one patient, from files or from memory."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.datasets.io.nifti import Volume, write_volume
from hilum.datasets.io.scratch import empty
from hilum.datasets.prepare.case import PrepareSettings, prepare_case
from hilum.datasets.store.case_store import PreparedCase
from hilum.evaluation.metrics.node_record import NodeRecord

from ..inference.predict_case import FLIPS, predict_slabs, usable
from ..inference.settings import InferenceSettings, Precision, Uncertainty
from ..operating.apply import clean, decide, pet_of
from ..predictor import Predictor
from ..status import are_proposals, with_status
from .original_grid import Maps, map_on_source, mask_on_source, nodes_on_source

Scan = str | Path | Volume
"""A file, or an array with its grid, in HU or SUV."""


@dataclass(frozen=True)
class Prediction:
    """What a segmenter says of one patient, on the grid of the reference scan (CT, if it is there).

    Attributes:
        mask: uint8 `[D, H, W]`, 0 background.
        grid: Where it lies.
        nodes: The largest first; see `evaluation.metrics.nodes.node_table`.
        modalities: What it was predicted from.
        uncertainty: float32 `[D, H, W]`, if asked for.
        proposal: Whether a network that never saw a label says so; each node has the status, too.
    """

    mask: np.ndarray
    grid: Grid
    nodes: list[NodeRecord]
    modalities: tuple[str, ...]
    uncertainty: np.ndarray | None = None
    proposal: bool = False

    def save(self, path: str | Path) -> Path:
        """Write the mask as NIfTI."""
        return write_volume(path, self.mask, self.grid, np.uint8)


def segment(
    model: Predictor,
    scans: Mapping[str, Scan],
    settings: InferenceSettings | None = None,
    *,
    precision: Precision = "auto",
    uncertainty: Uncertainty | None = None,
) -> Prediction:
    """Segment one patient.

    Args:
        model: A segmenter or an ensemble.
        scans: By modality, at least one that the model knows.
        settings: Window, overlap and mirror images; the model's own if not given.
        precision: Of the network.
        uncertainty: Measure to give, too.

    Raises:
        DataError: If a scan cannot be used.
        SettingsError: If the model never saw a modality.
    """
    check_known(model, scans)
    with tempfile.TemporaryDirectory() as folder:
        files = {
            name: write_volume(Path(folder) / f"{name}.nii", scan.array, scan.grid)
            if isinstance(scan, Volume)
            else Path(scan)
            for name, scan in scans.items()
        }
        case = Case("scan", "scan", files)
        prepared = prepare_case(case, preparation(model, case), with_label=False)
        names = usable(model, prepared.modalities, None, case.id)
        maps = predict_maps(
            model,
            prepared,
            settings,
            modalities=names,
            precision=precision,
            uncertainty=uncertainty,
        )
        point, regions = model.config.operating_point, model.config.overlapping
        mask = mask_on_source(maps.foreground, prepared, point, names, regions)
        nodes = nodes_on_source(mask, prepared.source_grid, case, prepared, maps, regions)
        doubt = maps.uncertainty
        return Prediction(
            mask,
            prepared.source_grid,
            with_status(nodes, model),
            names,
            None if doubt is None else map_on_source(doubt, prepared),
            are_proposals(model),
        )


def predict_maps(
    model: Predictor,
    prepared: PreparedCase,
    settings: InferenceSettings | None = None,
    *,
    modalities: Sequence[str] | None = None,
    precision: Precision = "auto",
    uncertainty: Uncertainty | None = None,
) -> Maps:
    """Predict a prepared case slab by slab; see `inference.predict_slabs`.

    Raises:
        SettingsError: If there is nothing to take a variance over.
    """
    settings = settings or model.config.inference
    check_uncertainty(model, settings, uncertainty)
    point = model.config.operating_point
    sides = prepared.images.shape[1:]
    maps = Maps(
        empty((model.classes - 1, *sides), np.float32),
        np.zeros(sides, np.uint8),
        empty(sides, np.float32) if uncertainty else None,
        bool(model.config.regions),
    )
    regions = model.config.overlapping
    for slab in predict_slabs(
        model,
        prepared,
        settings,
        modalities=modalities,
        precision=precision,
        uncertainty=uncertainty,
    ):
        maps.foreground[:, slab.rows] = slab.probability[1:]
        maps.mask[slab.rows] = decide(slab.probability[1:], point, slab.probability[0], regions)
        if maps.uncertainty is not None:
            maps.uncertainty[slab.rows] = slab.uncertainty
    clean(maps.mask, prepared.grid, point, pet_of(prepared, modalities), regions)
    return maps


def named_scans(
    modalities: Sequence[str], scans: Sequence[Scan | None], named: Mapping[str, Scan | None]
) -> dict[str, Scan]:
    """Return scans by modality: those without a name in the order of the modalities."""
    if len(scans) > len(modalities):
        raise SettingsError(
            f"there may be a scan for each of {', '.join(modalities)}",
            found=f"{len(scans)} scans",
            remedy="leave the others out",
        )
    found = dict(zip(modalities, scans, strict=False))
    if twice := found.keys() & named.keys():
        raise SettingsError(
            f"there may be one scan for {min(twice)}", found="two", remedy="leave one of them out"
        )
    return {name: scan for name, scan in (found | dict(named)).items() if scan is not None}


def check_uncertainty(
    model: Predictor, settings: InferenceSettings, uncertainty: Uncertainty | None
) -> None:
    """Raise an error if a variance is asked for of one prediction alone."""
    if uncertainty == "variance" and len(model.networks) * len(FLIPS[settings.flips]) == 1:
        raise SettingsError(
            "a variance needs several predictions of a voxel",
            found="one segmenter without mirror images",
            remedy="add --flips w, give several segmenters, or ask for entropy",
        )


def check_known(model: Predictor, scans: Mapping[str, object]) -> None:
    """Raise an error if there is no scan, or one of a modality that the model never saw."""
    if not scans:
        raise DataError("a case needs at least one volume", remedy="give its CT or PET")
    for name, scan in scans.items():
        modality(name)
        if name not in wanted(model):
            place = f": leave {scan} out" if isinstance(scan, str | Path) else ""
            raise SettingsError(
                f"the segmenter must know {name!r}",
                remedy=f"it was trained on {', '.join(model.modalities)}{place}",
            )


def preparation(model: Predictor, case: Case) -> PrepareSettings:
    """Return how to prepare a case for a segmenter: as its training cases were."""
    config = model.config
    reference = config.preparation.reference
    return config.preparation.model_copy(
        update={
            "spacing": config.spacing,
            "modalities": wanted(model),
            "reference": reference if reference in case.volumes else None,
        }
    )


def wanted(model: Predictor) -> tuple[str, ...]:
    """Return the modalities of the training store: one that is not seen may still give the grid."""
    config = model.config
    return tuple(dict.fromkeys([*(config.preparation.modalities or ()), *config.modalities]))
