"""What describes an nnU-Net raw dataset: `dataset.json` and `splits_final.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import SettingsError
from hilum.core.files import read_json
from hilum.core.seeds import numpy_generator


def describe(
    names: Sequence[str],
    classes: Sequence[str],
    ignores: bool,
    written: Sequence[Case],
    train: Sequence[Case],
) -> dict[str, object]:
    """Return what `dataset.json` holds.

    Args:
        names: Modality of each channel.
        classes: Name of each class, from 1 on.
        ignores: Whether a mask has the ignore label, one above the last class.
        written: Every case.
        train: Those with a place in `imagesTr`.
    """
    labels = {"background": 0} | {name: value for value, name in enumerate(classes, 1)}
    if ignores:
        labels["ignore"] = len(classes) + 1
    # nnU-Net clips and scales what is called CT by the cohort, and all else by each image.
    channels = {str(i): "CT" if n.startswith("ct") else n.upper() for i, n in enumerate(names)}
    facts = {
        case.id: {
            "patient": case.patient,
            "site": case.site,
            "split": case.split,
            "partial": case.partial,
        }
        for case in written
    }
    return {
        "channel_names": channels,
        "labels": labels,
        "numTraining": len(train),
        "file_ending": ".nii.gz",
        "hilum": {"modalities": list(names), "cases": facts},
    }


def of_regions(
    regions: Mapping[str, Sequence[int]],
    order: Sequence[int],
    about: Mapping[str, object],
    classes: int,
) -> dict[str, object]:
    """Return what `dataset.json` holds of regions in place of classes.

    Args:
        regions: Values of the label by name.
        order: Value that each region writes.
        about: What it holds of classes.
        classes: How many there are, without the background.

    Raises:
        SettingsError: If a region has a value that no label has.
    """
    for name, values in regions.items():
        if not values or min(values) < 1 or max(values) > classes:
            raise SettingsError(
                f"region {name} must be made of the label's values, 1 to {classes}",
                found=", ".join(map(str, values)) or "none",
                remedy="name values that the labels have",
            )
    before = about["labels"]
    ignore = {"ignore": before["ignore"]} if isinstance(before, dict) and "ignore" in before else {}
    labels = {"background": 0} | {name: list(values) for name, values in regions.items()}
    return {"labels": labels | ignore, "regions_class_order": list(order)}


def make_folds(
    train: Sequence[Case], count: int, seed: int, splits: Sequence[Path] = ()
) -> list[dict[str, list[str]]]:
    """Return what `splits_final.json` holds; patients stay together.

    Args:
        train: The cases to divide.
        count: Folds; fewer if there are fewer patients, none if that leaves one.
        seed: Seed of the division.
        splits: Files of splits made elsewhere, one per fold, instead. Cases that validate there are
            left out of a fold's training, and if none does, those that test.
    """
    if splits:
        known = {case.id for case in train}
        parts = [read_json(file) for file in splits]
        return [
            # A fold of a cross-validation tests cases that are in imagesTr: they are nnU-Net's val.
            {"train": sorted(known & set(p["train"])), "val": sorted(known & set(held))}
            for p in parts
            for held in [p["validation"] or p["test"]]
        ]
    patients = sorted({case.patient for case in train})
    count = min(count, len(patients))
    if count < 2:
        return []
    order = numpy_generator(seed, "folds").permutation(len(patients))
    folds = []
    for chosen in np.array_split(order, count):
        held = {patients[i] for i in chosen}
        folds.append(
            {
                "train": [case.id for case in train if case.patient not in held],
                "val": [case.id for case in train if case.patient in held],
            }
        )
    return folds
