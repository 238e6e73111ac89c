"""Segment raw scans: masks on the original grid, node tables, pictures, one summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, DiskError, UserError
from hilum.core.files import hash_of_file, write_json
from hilum.core.notes import Note, grouped
from hilum.core.outputs import output
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.prepare.case import prepare_case
from hilum.datasets.store.case_store import PreparedCase
from hilum.evaluation.charts.pictures import case_picture
from hilum.evaluation.metrics.node_record import NodeRecord, write_nodes
from hilum.evaluation.metrics.nodes import n_features

from ..assessment.prepared_cases import Progress
from ..inference.predict_case import usable
from ..inference.settings import InferenceSettings, Precision, Uncertainty
from ..operating.apply import operating_at
from ..operating.point import asked_point
from ..predictor import Predictor
from ..stations import name_stations
from ..status import STATUS, TITLE, are_proposals, proposal_notes, with_status
from .already import PredictSettings, check_names, files_of, is_there, key_of, rows_of
from .identity import Given, folders_of, load
from .inputs import Found, Inputs, find_cases
from .original_grid import Maps, features_of, map_on_source, mask_on_source, nodes_on_source
from .page import write_page
from .patient import check_uncertainty, predict_maps, preparation
from .pictures import thinned

SUMMARY = "summary.json"


def predict(
    segmenter: Given,
    inputs: Inputs,
    out: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    inference: InferenceSettings | None = None,
    fast: bool = False,
    changes: Mapping[str, object] | None = None,
    precision: Precision = "auto",
    pictures: bool = True,
    uncertainty: Uncertainty | None = None,
    probability: bool = False,
    threshold: float | None = None,
    raw: bool = False,
    dicom: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Segment cases wherever they are.

    Each case is brought to the segmenter's spacing, predicted, and the probabilities are taken back
    to the grid of its reference file (CT, where there is one), where the mask is decided. Writes
    `<case>.nii.gz`, `<case>_nodes.csv` and `.json`, `<case>_report.json`, `<case>.png` and `.html`,
    with `uncertainty` also `<case>_uncertainty.nii.gz`, with `probability`
    `<case>_probability.nii.gz`, and `summary.json` with times.
    A case that is there already, from the same files and weights, is not predicted again: a call
    that was interrupted goes on. A bad case does not stop the others.

    Args:
        segmenter: Segmenter folder, several or a folder of them (the mean of their probabilities
            counts), or a segmenter or ensemble in memory.
        inputs: Manifest, case folder, folder of cases, DICOM, or file of each modality; see
            `prediction.inputs.find_cases`.
        out: Where to write.
        modalities: Use only these; the mask still lies on the grid of the case's reference.
        inference: Window, overlap and mirror images; the segmenter's own if not given.
        fast: Change them for a quick answer.
        changes: Then set these of them; `None` leaves one as it is.
        precision: Of the network.
        pictures: Whether to draw each case.
        uncertainty: Map it, and give its mean in each node; see `inference.predict_slabs`.
        probability: Write the probability of the foreground (all classes) to three decimals.
        threshold: Probability above which a voxel is of a class, for all of them; what else the
            segmenter's operating point does stays.
        raw: Whether to take the most probable class and filter nothing.
        dicom: Settings of the DICOM importer, as in `suv=lbm`.
        names: Modality of words of files, columns or DICOM descriptions; nothing skips one.
        progress: Called after each case, and of DICOM also after files and conversions.
        say: Gets what reading the cases changed or chose, a line of each kind.

    Returns:
        Path of `summary.json`.

    Raises:
        DataError: If cases were bad; the others are predicted.
        SettingsError: If the segmenter never saw a modality that is asked for, or the threshold is
            not between 0 and 1.
    """
    model, identity = load(segmenter)
    point = asked_point(model.config.operating_point, model.classes, threshold, raw)
    asked = None if modalities is None else tuple(modalities)
    usable(model, model.modalities, asked)
    window = inference or model.config.inference
    window = (window.fast() if fast else window).changed(**(changes or {}))
    settings = PredictSettings(window, point, asked, precision, pictures, uncertainty, probability)
    check_uncertainty(model, window, uncertainty)
    with output(out, "predict", earlier=SUMMARY, inputs=folders_of(segmenter)) as place:
        found = find_cases(inputs, model, place, dicom, progress, names)
        for line in grouped(found.notes) if say else ():
            say(line)  # pyright: ignore[reportOptionalCall]
        with operating_at(model, point):
            return _predict_all(model, identity, found, place, settings, progress, say)


def _predict_all(
    model: Predictor,
    identity: str,
    found: Found,
    out: Path,
    settings: PredictSettings,
    progress: Progress | None,
    say: Callable[[str], None] | None,
) -> Path:
    """Predict every case that is not there, and write the summary."""
    rows = rows_of(out / SUMMARY)
    bad = dict(found.bad)
    for number, case in enumerate(found.cases, 1):
        try:
            key = key_of(case, identity, settings)
            files = files_of(case.id, settings)
            check_names(case.id, files, rows)
            if not is_there(out, rows.get(case.id), key, files):
                # Whatever happens from here on, no row vouches for files of before.
                if rows.pop(case.id, None) is not None:
                    write_json(out / SUMMARY, {"cases": rows})
                about = {"segmenter": identity, "key": key}
                rows[case.id] = _predict_one(model, case, out, settings) | about
                write_json(out / SUMMARY, {"cases": rows})
        except DiskError:
            raise  # the other cases would fail, too
        except UserError as error:
            bad[case.id] = str(error)
        if progress:
            progress(number, len(found.cases), case.id)
    told = [Note.from_json(entry) for row in rows.values() for entry in row.get("notes", ())]
    for line in grouped(note for note in told if note not in found.notes) if say else ():
        say(line)  # pyright: ignore[reportOptionalCall]
    notes = [note.as_json() for note in found.notes]
    write_json(out / SUMMARY, {"cases": rows, "failed": bad, "notes": notes})
    if bad:
        total = len(found.cases) + len(found.bad)
        raise DataError(
            f"every case must be good; {total - len(bad)} of {total} are predicted",
            found="\n  " + "\n  ".join(bad.values()),
            remedy="\nmend them and run the same command again",
        )
    return out / SUMMARY


def _fewer_modalities(case: str, given: Sequence[str], known: Sequence[str]) -> list[Note]:
    """Return a note if a network gets fewer modalities than it knows."""
    missing = [name for name in known if name not in given]
    if not missing:
        return []
    text = (
        f"predicted from {', '.join(given)} without {', '.join(missing)}, which the network knows"
    )
    return [Note("warning", "predicted without modalities that the network knows", text, case)]


def _predict_one(
    model: Predictor, case: Case, out: Path, settings: PredictSettings
) -> dict[str, Any]:
    """Predict one case and write its files; the mask last but for the report and the summary."""
    began = time.monotonic()
    prepared = prepare_case(case, preparation(model, case), with_label=False)
    names = usable(model, prepared.modalities, settings.modalities, case.id)
    read = time.monotonic()
    maps = predict_maps(
        model,
        prepared,
        settings.inference,
        modalities=names,
        precision=settings.precision,
        uncertainty=settings.uncertainty,
    )
    predicted = time.monotonic()
    grid = prepared.source_grid
    regions = model.config.overlapping
    mask = mask_on_source(maps.foreground, prepared, settings.point, names, regions)
    nodes = name_stations(nodes_on_source(mask, grid, case, prepared, maps, regions), case)
    nodes = with_status(nodes, model)
    write_nodes(out, case.id, nodes)
    files = files_of(case.id, settings)
    if maps.uncertainty is not None:
        name = f"{case.id}_uncertainty.nii.gz"
        write_volume(out / name, map_on_source(maps.uncertainty, prepared), grid)
    if settings.probability:
        total = maps.either
        name = f"{case.id}_probability.nii.gz"
        write_volume(out / name, map_on_source(total, prepared), grid)
    write_volume(out / files[0], mask, grid, np.uint8)
    ended = time.monotonic()
    notes = [replace(note, case=case.id) for note in prepared.notes]
    notes += _fewer_modalities(case.id, names, model.modalities)
    notes += proposal_notes(model, case.id)
    row = {
        "notes": [note.as_json() for note in notes],
        "mask": files[0],
        "mask_hash": hash_of_file(out / files[0]),
        "files": files,
        "modalities": names,
        "decided_by": settings.point.words(regions is not None),
        "nodes": len(nodes),
        "volume_ml": float(np.count_nonzero(mask) * grid.voxel_ml),
        "seconds": {
            "read": round(read - began, 3),
            "predict": round(predicted - read, 3),
            "write": round(ended - predicted, 3),
        },
    }
    report = {
        "case": case.id,
        "patient": case.patient,
        "inputs": case.volumes,
        "grid": grid.as_json(),
        "inference": settings.inference.model_dump(),
        "operating_point": settings.point.model_dump(),
        "uncertainty": settings.uncertainty,
        "n_features": features_of(nodes, regions),
    }
    if regions is not None:  # for whoever reads the mask: its values are no classes
        report["regions"] = dict(zip(regions.names, regions.values, strict=True))
        report["regions_class_order"] = regions.order
    if settings.pictures:
        _draw(out, case, prepared, maps, nodes, row, are_proposals(model))
    write_json(out / files[1], report | row | {"nodes": [node.row for node in nodes]})
    return row


def _draw(
    out: Path,
    case: Case,
    prepared: PreparedCase,
    maps: Maps,
    nodes: Sequence[NodeRecord],
    row: Mapping[str, Any],
    proposals: bool,
) -> None:
    """Write the picture and the page of a case."""
    volumes = {name: prepared.images[i] for i, name in enumerate(prepared.modalities)}
    grid = prepared.grid
    # Numbering the parts of a mask takes many times its memory: 512 x 512 x 1000 needs thinning.
    few, mask, thin = thinned(volumes, maps.mask, grid)
    title, called = (f"{case.id}: {TITLE}", STATUS) if proposals else (case.id, "prediction")
    case_picture(out / f"{case.id}.png", few, thin, None, mask, title=title, called=called)
    spacing = " x ".join(f"{s:.3g}" for s in grid.spacing)
    about = {
        "scans": [f"{name}: {file.name}" for name, file in case.volumes.items()],
        "predicted from": row["modalities"],
        "volume of all nodes, ml": row["volume_ml"],
        "largest short axis, mm": n_features(nodes)["max_short_axis_mm"],
        "slices below": f"as the network saw them, {spacing} mm",
        "mask": row["mask"],
        "mask decided by": row["decided_by"],
        "seconds": ", ".join(f"{name} {value:.1f}" for name, value in row["seconds"].items()),
    }
    if row["notes"]:
        about["notes"] = "; ".join(note["text"] for note in row["notes"])
    write_page(out / f"{case.id}.html", case.id, volumes, grid, maps.mask, nodes, about)
