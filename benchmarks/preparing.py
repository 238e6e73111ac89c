"""Preparing whole cases beside nnU-Net's preprocessing, at equal interpolation orders.

`python benchmarks/preparing.py` (part of `make bench`): about three minutes.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from cohort import MODALITIES, make_cohort, point_nnunet
from timing import compare, write

from hilum.core.geometry import Grid
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.manifest import read_manifest
from hilum.datasets.prepare.case import PrepareSettings
from hilum.datasets.prepare.run import prepare

torch.set_num_threads(1)
TARGET = (2.0, 2.0, 2.0)


def main() -> None:
    """Time both tools on the same files, and compare the images that they make."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = make_cohort(folder)
        point_nnunet(folder)
        from peers import nnunet_prepared

        _, manager, about = nnunet_prepared(folder)
        cases = read_manifest(manifest)

        def ours(order: int) -> object:
            settings = PrepareSettings.model_validate({"spacing": TARGET, "order": order})
            out = folder / f"store{order}"

            def run(number: int) -> None:
                shutil.rmtree(out, ignore_errors=True)
                prepare(manifest, out, settings)

            return run

        rows = [
            compare(
                "prepare a case of 2 x 160 x 192 x 192, files to patches",
                {
                    "hilum, cubic": ours(3),  # pyright: ignore[reportArgumentType]
                    "hilum, linear": ours(1),  # pyright: ignore[reportArgumentType]
                    "nnU-Net, cubic": lambda number: theirs(folder, manager, about, cases),
                },
                rounds=3,
                items=len(cases),
            ),
            difference(cases),
        ]
        print(f"wrote {write('preparing', 'make bench', rows)}", file=sys.stderr)


def theirs(folder: Path, manager: object, about: dict, cases: list) -> None:
    """Fingerprint and preprocess every case with nnU-Net's own functions, in this process."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import (
        DatasetFingerprintExtractor,
    )
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    out = folder / "theirs"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    tool = DefaultPreprocessor(verbose=False)
    configuration = manager.get_configuration("3d_fullres")  # pyright: ignore[reportAttributeAccessIssue]
    for case in cases:
        files, label = [str(case.volumes[m]) for m in MODALITIES], str(case.label)
        DatasetFingerprintExtractor.analyze_case(files, label, SimpleITKIO)
        tool.run_case_save(str(out / case.id), files, label, manager, configuration, about)  # pyright: ignore


def difference(cases: list) -> dict:
    """Return how far our cubic resampling is from nnU-Net's, as shares of the image's range."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg

    rows = {}
    for case in cases:
        volume = read_volume(case.volumes["ct"])
        new = tuple(
            int(np.round(n * s / t))
            for n, s, t in zip(volume.array.shape, volume.grid.spacing, TARGET, strict=True)
        )
        if new == volume.array.shape:
            continue
        # nnU-Net spreads the new voxels over the same box: its spacing is what that makes it.
        effective = tuple(
            n * s / m for n, s, m in zip(volume.array.shape, volume.grid.spacing, new, strict=True)
        )
        grid: Grid = volume.grid.with_spacing(effective)  # pyright: ignore[reportArgumentType]
        mine = resample(volume.array, volume.grid, grid, order=3, antialias=False)
        peer = resample_data_or_seg(volume.array[None], new, False, None, 3, False)[0]  # pyright: ignore
        apart = np.abs(mine - peer) / np.ptp(volume.array)
        inner = apart[8:-8, 8:-8, 8:-8]
        rows[case.id] = {
            "mean": float(f"{apart.mean():.3g}"),
            "most": float(f"{apart.max():.3g}"),
            "most away from the border": float(f"{inner.max():.3g}"),
        }
        print(case.id, rows[case.id], file=sys.stderr)
    return {"what": "cubic resampling: hilum against nnU-Net, share of the range", "cases": rows}


if __name__ == "__main__":
    main()
