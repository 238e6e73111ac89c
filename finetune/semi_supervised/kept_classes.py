"""Old classes are kept: where nobody looked for them, a segmenter that knows them labels them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from hilum.core.errors import CheckpointError
from hilum.core.files import hash_of, hash_of_file, read_json, write_json
from hilum.core.types import IGNORE
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.datasets.store.index import complete, index_row
from hilum.datasets.store.uptake import hot_spots
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config
from hilum.segmenter.inference.predict_case import Precision, predict_case
from hilum.segmenter.segmenter import Segmenter

from ..settings import FinetuneSettings
from .links import link_case
from .relabelled import write_relabelled


def known_classes(settings: FinetuneSettings, config: SegmenterConfig) -> dict[int, int]:
    """Return the run's number of each class that the segmenter to keep knows, by its own number.

    Classes are matched by name, and as `transfer.classes` says.

    Raises:
        CheckpointError: If it knows none of the run's classes, or sees another spacing.
    """
    folder = Path(settings.pseudo.keep or "")
    old = read_segmenter_config(folder)
    names = {name.casefold(): number for number, name in enumerate(old.class_names, 1)}
    found = {}
    for number, name in enumerate(config.class_names, 1):
        theirs = settings.transfer.classes.get(name, name).casefold()
        if theirs in names:
            found[names[theirs]] = number
    if not found:
        raise CheckpointError(
            "the segmenter whose classes are kept must know one of the run's",
            file=folder,
            found=f"{', '.join(old.class_names)} there, {', '.join(config.class_names)} here",
            remedy="name the class that continues another, as in transfer.classes.node=lesion",
        )
    if old.spacing != config.spacing:
        raise CheckpointError(
            "the segmenter whose classes are kept must have the spacing of the store",
            file=folder,
            found=f"{old.spacing}, not {config.spacing}",
            remedy="prepare the store at its spacing",
        )
    return found


def with_kept(
    store: CaseStore, split: Split, settings: FinetuneSettings, config: SegmenterConfig, out: Path
) -> CaseStore:
    """Write a store whose training labels say something of the classes that are kept, too.

    Source:
        Learning without forgetting (Li and Hoiem, ECCV 2016, arXiv:1606.09282), with hard labels
        where the old network is sure, and nothing where it is not.

    Args:
        store: Of the run.
        split: Of the run; its training cases are completed, validation cases stay as they are.
        settings: Of the run, with `pseudo.keep`.
        config: Of the segmenter that is trained.
        out: Folder of the new store; what it holds already is kept.
    """
    known = known_classes(settings, config)
    folder = Path(settings.pseudo.keep or "")
    files = [hash_of_file(folder / name) for name in ("model.safetensors", "config.json")]
    mark = hash_of([store.fingerprint, files, settings.pseudo.threshold, sorted(known.items())])
    if (out / "store.json").is_file() and CaseStore(out).fingerprint == mark:
        return CaseStore(out)
    old = Segmenter.from_pretrained(folder)
    old.to("cuda" if torch.cuda.is_available() else "cpu")
    names = dict.fromkeys((*split.train, *split.validation))
    for name in names:
        case = store[name]
        if name not in split.train or complete(store, name):
            link_case(case, out / name)
        elif not (out / name / f"{mark}.key").is_file():
            precision = settings.trainer.precision
            label = completed(old, case, known, settings.pseudo.threshold, precision)
            _write(case, label, known, out / name, f"{mark}.key")
    rows = [index_row(read_json(out / name / "case.json")) for name in names]
    write_json(out / "store.json", {**store.about, "fingerprint": mark, "cases": rows})
    return CaseStore(out)


def completed(
    old: Segmenter,
    case: StoredCase,
    known: Mapping[int, int],
    threshold: float,
    precision: Precision = "auto",
) -> np.ndarray:
    """Return the label of a case with what a segmenter is sure of, where nobody looked.

    What was drawn stays. In the background a voxel becomes a class that nobody looked for if the
    segmenter is sure of it, and unknown if it is sure of nothing.

    Args:
        old: Knows the classes.
        case: Its label leaves some of them out.
        known: The run's number of each of its classes.
        threshold: Smallest probability to be sure.
        precision: Of the network.
    """
    probability = predict_case(old, case, precision=precision)
    label = np.array(case.label)
    free = label == 0
    best, top = probability.argmax(0), probability.max(0)
    label[free & (top < threshold)] = IGNORE
    for theirs, ours in known.items():
        if ours not in case.annotated:
            label[free & (best == theirs) & (top >= threshold)] = ours
    return label


def _write(
    case: StoredCase, label: np.ndarray, known: Mapping[int, int], folder: Path, mark: str
) -> None:
    spots = hot_spots(np.asarray(case.images), case.modalities, label, case.grid.spacing, case.id)
    about = {
        "annotated": sorted({*case.annotated, *known.values()}),
        "partial": True,
        "hot_spots": int(spots[1][-1]) + 1 if len(spots[1]) else 0,
    }
    write_relabelled(case, label, folder, about, mark=mark, spots=spots)
