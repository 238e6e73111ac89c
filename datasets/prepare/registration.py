"""Rigid registration of one scan to another by mutual information."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hilum.core.errors import UserError
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.notes import Note

from ..io.nifti import Volume
from ..io.resampling import resample
from .acceptance import Agreement, Limits, doubt, size_of
from .alignment import misalignment

SEED = 1234
BINS, SHARE, WORK_MM = 32, 0.2, 4.0


@dataclass(frozen=True)
class Registration:
    """How a scan was moved.

    Attributes:
        matrix: 4 x 4 in RAS mm, from where the scan lay to where it lies now.
        before: Mutual information as the scans lay, in nats.
        after: And afterwards.
        distance_mm: How far the middle of the scan moved.
        degrees: How far it turned.
    """

    matrix: NDArray[np.float64]
    before: float
    after: float
    distance_mm: float
    degrees: float


def register(fixed: Volume, moving: Volume, *, tissue: bool) -> Registration:
    """Find the translation and rotation that bring `moving` onto `fixed`.

    Begins with the shift that `alignment` estimates from body and lungs (CT and PET only), then
    maximises Mattes' mutual information over three resolutions. The same scans give the same
    result: one thread, a fixed seed.

    Source:
        Mattes et al., "PET-CT Image Registration in the Chest", IEEE TMI 2003; by SimpleITK.

    Args:
        fixed: Stays.
        moving: Is moved.
        tissue: Whether `fixed` is a CT and `moving` a PET.

    Raises:
        UserError: If SimpleITK is not installed.
    """
    sitk = _library()
    one, two = _image(sitk, fixed), _image(sitk, moving)
    start = misalignment(fixed, moving) if tissue else None
    transform = sitk.Euler3DTransform()
    # Turns are about the middle of the fixed scan.
    transform.SetCenter((_FLIP @ _middle(fixed.grid)).tolist())
    if start is not None:
        # SimpleITK maps fixed points to moving ones: the other way round, and in LPS.
        transform.SetTranslation((_FLIP @ -np.array(start.shift_mm)).tolist())
    method = _method(sitk)
    method.SetInitialTransform(sitk.Euler3DTransform())
    before = -float(method.MetricEvaluate(one, two))
    method = _method(sitk)
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(one, two)
    method = _method(sitk)
    method.SetInitialTransform(transform)
    after = -float(method.MetricEvaluate(one, two))
    matrix = _to_ras(transform)
    return Registration(matrix, before, after, *size_of(matrix, moving.grid))


def placed(volume: Volume, matrix: NDArray[np.float64]) -> Volume:
    """Return a scan in its new place; no voxel is touched."""
    return Volume(volume.array, Grid(volume.grid.shape, matrix @ volume.grid.affine))


def register_all(
    volumes: Mapping[str, Volume], reference: str, limits: Limits, case: str = ""
) -> tuple[dict[str, Volume], dict[str, list[list[float]]], list[Note]]:
    """Register every scan of a case to one of them.

    A scan stays where the scanner put it unless its move is plausible; see `acceptance.doubt`.

    Returns:
        The scans in their new places, the matrix of each that moved, and what was done.
    """
    result, matrices, notes = dict(volumes), {}, list[Note]()
    for name, volume in volumes.items():
        if name == reference:
            continue
        fixed = volumes[reference]
        register_ = partial(register, fixed, tissue=_is_pair(reference, name))
        found = register_(volume)
        agreement = Agreement.of(fixed, volume, (reference, name))
        why, measured = doubt(
            found.matrix,
            lambda start, volume=volume, run=register_: run(placed(volume, start)).matrix @ start,
            agreement,
            limits,
        )
        what = f"{name}: {found.distance_mm:.1f} mm and {found.degrees:.1f} degrees; {measured}"
        if why:
            text = f"not registered ({why}), {what.rstrip('; ')}"
            notes.append(Note("info", "scans left in the scanner's frame", text, case))
            continue
        result[name], matrices[name] = placed(volume, found.matrix), found.matrix.tolist()
        notes.append(Note("info", "scans moved by registration", f"registered, {what}", case))
    return result, matrices, notes


def _is_pair(reference: str, name: str) -> bool:
    return (modality(reference).unit, modality(name).unit) == ("HU", "SUV")


_FLIP = np.diag([-1.0, -1.0, 1.0])


def _library() -> Any:
    try:
        import SimpleITK
    except ImportError:
        raise UserError(
            "registration needs SimpleITK, which is not installed",
            remedy="pip install 'hilum[dicom]', or set registration=none",
        ) from None
    return SimpleITK


def _method(sitk: Any) -> Any:
    method = sitk.ImageRegistrationMethod()
    method.SetGlobalDefaultNumberOfThreads(1)
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(SHARE, SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(2.0, 0.02, 100, 0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([4, 2, 1])
    method.SetSmoothingSigmasPerLevel([2, 1, 0])
    return method


def _image(sitk: Any, volume: Volume) -> Any:
    """Return a scan for SimpleITK, at a coarse spacing that rigid motion does not need finer."""
    canonical, _, _ = volume.grid.canonical()
    coarse = canonical.with_spacing(tuple(max(s, WORK_MM) for s in canonical.spacing))  # pyright: ignore[reportArgumentType]
    array = resample(volume.array, volume.grid, coarse, fill=float(volume.array.min()))
    image = sitk.GetImageFromArray(array.astype(np.float32))
    spacing = np.array(coarse.spacing)[[2, 1, 0]]
    direction = _FLIP @ (coarse.affine[:3, [2, 1, 0]] / spacing)
    image.SetSpacing(spacing.tolist())
    image.SetDirection(direction.flatten().tolist())
    image.SetOrigin((_FLIP @ coarse.affine[:3, 3]).tolist())
    return image


def _middle(grid: Grid) -> NDArray[np.float64]:
    return grid.to_world((np.array(grid.shape) - 1) / 2)


def _to_ras(transform: Any) -> NDArray[np.float64]:
    """Return the matrix from the moving scan's old place to its new one, in RAS."""
    turn = np.array(transform.GetMatrix()).reshape(3, 3)
    centre, shift = np.array(transform.GetCenter()), np.array(transform.GetTranslation())
    to_moving = np.eye(4)
    to_moving[:3, :3] = _FLIP @ turn @ _FLIP
    to_moving[:3, 3] = _FLIP @ (centre + shift - turn @ centre)
    return np.asarray(np.linalg.inv(to_moving), np.float64)
