"""The synthetic cohort that every comparison reads: as NIfTI, as our store, and as nnU-Net's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from scipy import ndimage

from hilum.core.geometry import Grid, Triple
from hilum.core.seeds import numpy_generator
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore

SIDES = (160, 192, 192)
SPACINGS: tuple[Triple, ...] = ((2.0, 2.0, 2.0), (3.0, 2.0, 2.0), (2.0, 1.6, 1.6))
DATASET = "Dataset901_Bench"
MODALITIES = ("ct", "mr")
"""Two channels to which the same operations apply, as nnU-Net and MONAI treat theirs."""


def make_cohort(folder: Path, cases: int = 3) -> Path:
    """Write cases as nnU-Net raw, and a manifest of the same files; return the manifest."""
    raw = folder / "raw" / DATASET
    lines = ["case,ct,mr,label"]
    for number in range(cases):
        name = f"case_{number:02d}"
        grid = Grid.from_spacing(SIDES, SPACINGS[number % len(SPACINGS)])
        draw = numpy_generator(number, "bench")
        soft = ndimage.zoom(draw.normal(size=(20, 24, 24)), 8, order=1).astype(np.float32)
        label = np.zeros(SIDES, np.uint8)
        for centre in draw.integers(40, 120, (6, 3)):
            label[tuple(slice(c - 4, c + 4) for c in centre)] = 1
        grain = draw.normal(0, 8, SIDES).astype(np.float32)
        arrays = {"ct": 40 + 60 * soft + grain, "mr": 300 + 100 * np.abs(soft) + 80 * label}
        files = []
        for channel, modality in enumerate(MODALITIES):
            file = raw / "imagesTr" / f"{name}_{channel:04d}.nii.gz"
            files.append(write_volume(file, np.round(arrays[modality]).astype(np.int16), grid))
        mask = write_volume(raw / "labelsTr" / f"{name}.nii.gz", label, grid)
        lines.append(",".join([name, *(str(Path(f).resolve()) for f in (*files, mask))]))
    about = {
        "channel_names": {"0": "CT", "1": "MR"},
        "labels": {"background": 0, "node": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(about))
    manifest = folder / "manifest.csv"
    manifest.write_text("\n".join(lines))
    return manifest


def make_store(manifest: Path, folder: Path) -> CaseStore:
    """Prepare the cohort at its own spacing of the first case."""
    settings = PrepareSettings.model_validate({"spacing": SPACINGS[0], "body_crop": False})
    return prepare(manifest, folder, settings)


def point_nnunet(folder: Path) -> None:
    """Tell nnU-Net where its folders are; before its first import."""
    for name in ("raw", "preprocessed", "results"):
        (folder / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(folder / name)
