"""Pseudo-labels: unlabelled cases of the pool train with what a segmenter is sure of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hilum.core.errors import CheckpointError, RunError
from hilum.core.files import hash_of, hash_of_file, read_json, write_json
from hilum.core.runs import RunFolder
from hilum.core.types import IGNORE
from hilum.datasets.leakage import check_unseen
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.datasets.store.index import index_row
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config
from hilum.segmenter.inference.predict_case import Precision, predict_slabs
from hilum.segmenter.operating.regions import Regions
from hilum.segmenter.segmenter import Segmenter

from ..regions import regions_of
from ..settings import FinetuneSettings
from .kept_classes import with_kept
from .links import link_case
from .relabelled import write_relabelled
from .unlabelled import unlabelled_cases

Progress = Callable[[int, int], None]


def check_labeller(store: CaseStore, split: Split, settings: FinetuneSettings) -> list[str]:
    """Return the cases to label, after checking that the segmenter may label them.

    Raises:
        CheckpointError: If the segmenter does not fit the store.
        DataError: If there is nothing to label, or the segmenter trained on a patient that tests.
    """
    folder = Path(settings.pseudo.segmenter or "")
    config, regions = read_segmenter_config(folder), regions_of(settings, store)
    for name, found, wanted in (
        ("regions", config.overlapping, regions),
        ("classes", config.classes, _outputs(regions, store)),
        ("spacing", config.spacing, store.spacing),
    ):
        if found != wanted:
            raise CheckpointError(
                f"a segmenter that labels must have the {name} of the store",
                file=folder,
                found=f"{found}, not {wanted}",
                remedy="give one that was fine-tuned on this store",
            )
    check_unseen(folder, store, split.test, other_cohort=settings.transfer.other_cohort)
    return unlabelled_cases(store, split, config.modalities)


def pseudo_labelled(
    store: CaseStore,
    split: Split,
    settings: FinetuneSettings,
    out: Path,
    progress: Progress = lambda done, total: None,
) -> tuple[CaseStore, Split]:
    """Return a store with pseudo-labels, and the split in which those cases train, too.

    Each voxel gets the most probable class if its probability reaches the threshold; else it is
    unknown, and never counts. The new store holds the training, validation and pseudo-labelled
    cases; their scans are hard links to those of the old store where the disk can do that. What is
    labelled already is kept, so an interrupted call goes on.

    Source:
        Lee, "Pseudo-label", ICML workshop 2013; with unknown voxels as in LNQ 2023.

    Args:
        store: Of the run.
        split: Of the run.
        settings: Of the run, with `pseudo.segmenter`.
        out: Folder of the new store.
        progress: Called after each case.

    Raises:
        RunError: If the folder holds labels of another segmenter.
    """
    ids = check_labeller(store, split, settings)
    mark = _mark(store, settings)
    if (out / "store.json").is_file():
        made = CaseStore(out)
        if made.fingerprint != mark:
            raise RunError(
                "pseudo-labels must be of the segmenter that the run began with",
                file=out,
                remedy="delete the run folder to begin again",
            )
    else:
        made = _write(store, split, ids, settings, out, mark, progress)
    return made, replace(split, train=(*split.train, *ids))


def labels_of_run(
    run: RunFolder,
    settings: FinetuneSettings,
    config: SegmenterConfig,
    store: CaseStore,
    split: Split,
) -> tuple[CaseStore, Split]:
    """Return the store with the labels that a segmenter made for a run, and the split with it.

    It lies in the run folder; only the first process writes it.
    """
    out = run.path / "pseudo"
    while run.follower and not (out / "store.json").is_file():
        time.sleep(1)
    if settings.pseudo.keep is not None:
        return with_kept(store, split, settings, config, out), split

    def progress(done: int, total: int) -> None:
        run.heartbeat(0, settings.trainer.steps, labelled=done)

    return pseudo_labelled(store, split, settings, out, progress)


def confident(
    probability: np.ndarray, threshold: float, regions: Regions | None = None
) -> np.ndarray:
    """Return the most probable class where it reaches the threshold, 255 elsewhere.

    A voxel has a value that says of every region whether it is in it. So where the classes are
    regions, it is known only if the segmenter is sure of each of them, to be in it or not, and if
    there is such a value.

    Args:
        probability: `[classes, D, H, W]`.
        threshold: Above 0.5, so that no two classes reach it.
        regions: What the classes are, if they may overlap.
    """
    if regions is not None:
        inside = probability[1:] >= threshold
        label = regions.write(inside)
        meant = np.moveaxis(regions.membership()[label, 1:] > 0, -1, 0)
        sure = inside | (probability[1:] <= 1 - threshold)
        label[~(sure & (meant == inside)).all(0)] = IGNORE
        return label
    label = probability.argmax(0).astype(np.uint8)
    label[probability.max(0) < threshold] = IGNORE
    return label


def _outputs(regions: Regions | None, store: CaseStore) -> int:
    return max(store.classes, 2) if regions is None else 1 + len(regions.names)


def _mark(store: CaseStore, settings: FinetuneSettings) -> str:
    folder = Path(settings.pseudo.segmenter or "")
    files = [hash_of_file(folder / name) for name in ("model.safetensors", "config.json")]
    return hash_of([store.fingerprint, files, settings.pseudo.threshold])


def _write(
    store: CaseStore,
    split: Split,
    ids: list[str],
    settings: FinetuneSettings,
    out: Path,
    mark: str,
    progress: Progress,
) -> CaseStore:
    segmenter = Segmenter.from_pretrained(settings.pseudo.segmenter or "")
    segmenter.to("cuda" if torch.cuda.is_available() else "cpu")
    for name in (*split.train, *split.validation):
        link_case(store[name], out / name)
    threshold, precision = settings.pseudo.threshold, settings.trainer.precision
    for number, name in enumerate(ids, 1):
        folder = out / name
        # The mark is part of the name: labels of another segmenter do not count as done.
        done = folder / f"{mark}.key"
        if not done.is_file():
            _label_case(segmenter, store[name], folder, threshold, precision, done.name)
        progress(number, len(ids))
    about = {**store.about, "fingerprint": mark, "cases": []}
    for name in dict.fromkeys((*split.train, *split.validation, *ids)):
        about["cases"].append(index_row(read_json(out / name / "case.json")))
    write_json(out / "store.json", about)
    return CaseStore(out)


def _label_case(
    segmenter: Segmenter,
    case: StoredCase,
    folder: Path,
    threshold: float,
    precision: Precision,
    mark: str,
) -> None:
    """Write a case with a pseudo-label in place of its label, if it has one."""
    label = np.full(case.grid.shape, IGNORE, np.uint8)
    for slab in predict_slabs(segmenter, case, precision=precision):
        label[slab.rows] = confident(slab.probability, threshold, segmenter.config.overlapping)
    # No spots: uptake that is no node would be known from the true label.
    about = {"labelled": True, "partial": True, "hot_spots": 0}
    write_relabelled(case, label, folder, about, mark=mark)
