"""MONAI's own runner turns NIfTI files into the mask that we predict."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.exchange.networks_out.exporting import export
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.segmenter import Segmenter

SPACING = (4.0, 3.0, 2.0)
# Windows lie at the same places: MONAI moves by half a window and clips the last, hilum spreads
# them evenly, which is the same where half windows fit. An untrained network shows any other.
SIDES = (12, 24, 32)


def segmenter_folder(folder: Path, **changes: Any) -> Path:
    values: dict[str, Any] = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "fusion": {"name": "late"},
        "patch": (8, 12, 16),
        "spacing": SPACING,
        "classes": 3,
        "prior": 0.3,
        "preparation": {"body_crop": False, "modalities": ("ct", "pet")},
    }
    torch.manual_seed(3)
    return Segmenter(validate(SegmenterConfig, values | changes)).save(folder)


def scans(grid: Grid, folder: Path) -> dict[str, Path]:
    """Write two blurred noises in HU and SUV."""
    from scipy import ndimage

    generator = np.random.default_rng(0)
    rough = [ndimage.gaussian_filter(generator.normal(size=grid.shape), 1.5) for _ in range(2)]
    ct, pet = (part / part.std() for part in rough)
    return {
        "ct": write_volume(folder / "ct.nii.gz", (150 * ct).astype(np.float32), grid),
        "pet": write_volume(folder / "pet.nii.gz", np.abs(4 * pet).astype(np.float32), grid),
    }


def run_bundle(bundle: Path, out: Path, **files: str) -> np.ndarray:
    from monai.bundle import run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(
            config_file=str(bundle / "configs" / "inference.json"),
            meta_file=str(bundle / "configs" / "metadata.json"),
            bundle_root=str(bundle),
            output_dir=str(out),
            **files,
        )
    torch.set_grad_enabled(True)
    masks = list(out.glob("*.nii.gz"))
    assert len(masks) == 1
    return np.asarray(nibabel.load(masks[0]).dataobj)  # pyright: ignore


def ours(folder: Path, files: dict[str, Path], out: Path) -> np.ndarray:
    predict(folder, files, out, precision="32", pictures=False)
    return np.asarray(nibabel.load(next(out.glob("*.nii.gz"))).dataobj)  # pyright: ignore


def turned(grid: Grid) -> Grid:
    """Return the same box with two axes swapped and one flipped, as scanners store it."""
    d, h, w = grid.shape
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, [1, 0, 2]]
    affine[:3, 3] += grid.affine[:3, 2] * (w - 1)
    affine[:3, 2] *= -1
    return Grid((h, d, w), affine)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bundle")
    source = segmenter_folder(folder / "segmenter")
    return source, export(source, "monai_bundle", folder / "bundle")


@pytest.mark.slow
@pytest.mark.parametrize("given", [("ct", "pet"), ("ct",), ("pet",)])
def test_masks_are_equal_where_nothing_is_resampled(
    given: tuple[str, ...], bundle: tuple[Path, Path], tmp_path: Path
) -> None:
    files = scans(turned(Grid.from_spacing(SIDES, SPACING)), tmp_path)
    files = {name: files[name] for name in given}
    theirs = run_bundle(bundle[1], tmp_path / "theirs", **{n: str(f) for n, f in files.items()})
    expected = ours(bundle[0], files, tmp_path / "ours")
    assert theirs.shape == expected.shape == (32, 12, 24)
    assert 0.02 < (expected > 0).mean() < 0.98, "the phantom must have something to find"
    assert (theirs != expected).sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spacing", "sides", "share"),
    [
        # Both tools interpolate linearly between the same centres.
        ((5.6, 4.5, 2.56), (20, 20, 25), 0.98),
        # We average what is finer than the network's grid, MONAI does not. An untrained network on
        # noise is the worst case.
        ((3.0, 2.0, 1.8), (17, 21, 23), 0.85),
    ],
)
def test_masks_are_nearly_equal_where_scans_are_resampled(
    spacing: tuple[float, float, float],
    sides: tuple[int, int, int],
    share: float,
    bundle: tuple[Path, Path],
    tmp_path: Path,
) -> None:
    near = scans(Grid.from_spacing(sides, spacing), tmp_path)
    other = Grid.from_spacing((13, 16, 15), (6.5, 4.1, 4.3), (2.0, 1.0, -1.0))
    files = {"ct": near["ct"], "pet": scans(other, tmp_path / "coarse")["pet"]}
    theirs = run_bundle(bundle[1], tmp_path / "theirs", **{n: str(f) for n, f in files.items()})
    expected = ours(bundle[0], files, tmp_path / "ours")
    assert theirs.shape == expected.shape
    assert (theirs == expected).mean() > share, (theirs == expected).mean()


@pytest.mark.slow
def test_a_case_smaller_than_the_window_is_padded_alike(
    bundle: tuple[Path, Path], tmp_path: Path
) -> None:
    files = scans(Grid.from_spacing((6, 24, 11), SPACING), tmp_path)
    theirs = run_bundle(bundle[1], tmp_path / "theirs", **{n: str(f) for n, f in files.items()})
    assert np.array_equal(theirs, ours(bundle[0], files, tmp_path / "ours"))


def test_a_bundle_has_the_files_and_keys_that_monai_looks_for(bundle: tuple[Path, Path]) -> None:
    from monai.bundle import ConfigParser
    from monai.bundle.properties import MetaProperties

    folder = bundle[1]
    meta = ConfigParser()
    meta.read_meta(str(folder / "configs" / "metadata.json"))
    required = {
        about["id"].replace("_meta_::", "")
        for about in MetaProperties.values()
        if about["required"]
    }
    known = read_json(folder / "configs" / "metadata.json")
    for address in required:
        value = known
        for key in address.split("::"):
            assert key in value, address
            value = value[key]
    assert (folder / "models" / "model.ts").is_file()
    assert read_json(folder / "export.json")["largest_difference"] < 1e-4


def test_a_modality_without_unit_is_scaled_by_its_bright_voxels_and_not_by_noisy_air(
    tmp_path: Path,
) -> None:
    """A ball of 300 to 900 in air whose noise is brighter than a tenth of its own median."""
    names = ("mr", "pet")
    more = {"modalities": names, "preparation": {"body_crop": False, "modalities": names}}
    bundle = export(segmenter_folder(tmp_path / "s", **more), "monai_bundle", tmp_path / "b")
    steps = read_json(bundle / "configs" / "inference.json")["preprocessing"]["transforms"]
    written = [s.get("func", "") for s in steps if isinstance(s, dict)]
    (func,) = (one for one in written if "percentile" in str(one))
    generator = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*[np.arange(40) - 20] * 3, indexing="ij"), -1)
    body = np.linalg.norm(places, axis=-1) < 10
    scan = np.where(
        body, generator.uniform(300, 900, body.shape), generator.uniform(1, 20, body.shape)
    )
    scaled = eval(func.removeprefix("$"), {"np": np})(scan)
    assert scaled[body] == pytest.approx(scan[body] / np.percentile(scan[body], 99), rel=0.01)
