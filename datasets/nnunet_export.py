"""Write a cohort as an nnU-Net raw dataset: every modality on one grid, labels, folds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from hilum.core.case import IGNORE, Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import atomic_folder, read_json, write_json
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.core.outputs import check_output
from hilum.core.settings import Settings, load
from hilum.core.spread import spread

from .conversion import why_not
from .io.lattice import drawn_on, place_mask
from .io.nifti import Volume, read_grid, read_volume, write_volume
from .io.resampling import resample
from .manifest import read_manifest
from .nnunet_dataset import describe, make_folds, of_regions
from .raters.reading import label_file, read_case_label
from .source import LeftOut, Progress

ENDING = ".nii.gz"


class NnunetExport(Settings):
    """How a cohort becomes an nnU-Net dataset."""

    modalities: tuple[str, ...] | None = Field(
        None, description="channels in order; empty: all of the manifest, ct and pet first"
    )
    reference: str | None = Field(
        None, description="modality whose grid unlabelled cases take; empty: ct, else the first"
    )
    classes: tuple[str, ...] | None = Field(
        None, description="names of the classes from 1 on; empty: class_1, ... as in the labels"
    )
    regions: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="class numbers of the label in each region, for region-based training; empty: "
        "classes",
    )
    regions_class_order: tuple[int, ...] = Field(
        (), description="number that each region writes, in their order; regions need it"
    )
    missing: Literal["leave_out", "fill"] = Field(
        "leave_out",
        description="a case without a channel: leave it out, or fill in air or no uptake",
    )
    unmarked: Literal["ignore", "background"] = Field(
        "ignore", description="what unmarked voxels become where nodes or classes were left out"
    )
    folds: int = Field(
        5, ge=0, le=20, description="folds of splits_final.json, by patient; below 2: nnU-Net's own"
    )
    splits: tuple[Path, ...] = Field(
        (), description="split.json of runs, one per fold; val: who validates there, else who tests"
    )
    seed: int = Field(0, ge=0, description="seed of the folds")

    @model_validator(mode="after")
    def _ordered_regions(self) -> NnunetExport:
        if len(self.regions) != len(self.regions_class_order):
            raise ValueError(
                f"regions_class_order must have a value for each of {len(self.regions)} regions: "
                f"{self.regions_class_order}"
            )
        for (name, values), value in zip(
            self.regions.items(), self.regions_class_order, strict=True
        ):
            if value not in values:
                raise ValueError(f"region {name} must write one of its values {values}: {value}")
        return self


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: The dataset.
        train: Cases in `imagesTr`.
        test: Cases in `imagesTs`.
        left_out: The others, with the reason.
    """

    path: Path
    train: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return a summary to print."""
        folds = self.path / "splits_final.json"
        copy = f"after nnU-Net's planning, copy {folds} to its preprocessed folder of the dataset"
        return [
            f"wrote {self.path}: {len(self.train)} cases to train, {len(self.test)} to test",
            *([copy] if folds.exists() else []),
            *([f"left out {len(self.left_out)} cases:"] if self.left_out else []),
            *(f"  {entry.case}: {entry.reason}" for entry in self.left_out),
        ]


@dataclass(frozen=True)
class _Job:
    """One case on its way to the dataset; `classes` without background."""

    case: Case
    settings: NnunetExport
    modalities: tuple[str, ...] = ()
    classes: int = 0
    folder: Path = Path()


def export_nnunet(
    manifest: str | Path,
    out: str | Path,
    settings: NnunetExport | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Exported:
    """Write `imagesTr`, `labelsTr`, `imagesTs`, `labelsTs`, `dataset.json`, `splits_final.json`.

    Images keep the reference's own grid; others are resampled to it. Labelled cases train, unless
    their split is `test`; unlabelled ones are left out, unless it is. Unknown voxels (255) become
    nnU-Net's ignore label, one above the last class. `dataset.json` also notes patients, sites and
    modalities, for `hilum import nnunet_raw`. The folder appears whole or not at all; one that an
    earlier export wrote is replaced.

    Args:
        manifest: The cohort.
        out: A folder called `DatasetXXX_Name`, as nnU-Net wants.
        settings: How.
        workers: Processes.
        progress: Gets how many cases are written, how many there are, and the case.

    Raises:
        DataError: If no labelled case can be written, or the folder holds another's dataset.
    """
    settings, out = settings or load(NnunetExport), Path(out)
    _check_target(out)
    check_output(out, "export-nnunet", earlier=_is_ours)
    cases = {case.id: case for case in read_manifest(manifest)}
    names = settings.modalities or _order(cases.values())
    jobs = [_Job(case, settings, names) for case in cases.values()]
    found = {looked.case: looked for looked in spread(_look, jobs, workers)}
    left_out = [LeftOut(name, found[name].reason) for name in cases if found[name].reason]
    jobs = [job for job in jobs if not found[job.case.id].reason]
    classes = _classes(settings, max((found[job.case.id].highest for job in jobs), default=0))
    ignores = any(found[job.case.id].unknown for job in jobs)
    with atomic_folder(out) as part:
        jobs = [replace(job, classes=len(classes), folder=part) for job in jobs]
        for done, (name, reason) in enumerate(spread(_write, jobs, workers), 1):
            if reason:
                left_out.append(LeftOut(name, reason))
            if progress:
                progress(done, len(jobs), name)
        bad = {entry.case for entry in left_out}
        written = [case for name, case in cases.items() if name not in bad]
        train = [case for case in written if case.split != "test"]
        if not train:
            raise DataError(
                "at least one labelled case must be there to train with",
                file=manifest,
                found=f"{left_out[0].case}: {left_out[0].reason}" if left_out else "none",
                remedy="add labels to the manifest, or mend the first case",
            )
        about = describe(names, classes, ignores, written, train)
        if settings.regions:
            about |= of_regions(settings.regions, settings.regions_class_order, about, len(classes))
        write_json(part / "dataset.json", about)
        folds = make_folds(train, settings.folds, settings.seed, settings.splits)
        if folds:
            write_json(part / "splits_final.json", folds)
    test = [case.id for case in written if case.split == "test"]
    return Exported(out, [case.id for case in train], test, left_out)


@dataclass(frozen=True)
class _Looked:
    """The highest class of a label, whether some voxels are unknown, and why it is left out."""

    case: str
    highest: int = 0
    unknown: bool = False
    reason: str = ""


def _look(job: _Job) -> _Looked:
    """Read the label only: the ignore label's value depends on the classes of all cases."""
    case, settings = job.case, job.settings
    lacking = [name for name in job.modalities if name not in case.volumes]
    if settings.missing == "leave_out" and lacking:
        return _Looked(case.id, reason=f"case {case.id}: it has no {lacking[0]}")
    if not case.labelled:
        reason = "" if case.split == "test" else f"case {case.id}: it has no label to train with"
        return _Looked(case.id, reason=reason)
    try:
        label = read_case_label(case)
        values = np.unique(label.array if label else [])
    except DataError as error:
        return _Looked(case.id, reason=str(error))
    highest = int(values[values != IGNORE].max(initial=0))
    most = len(settings.classes) if settings.classes else IGNORE - 2
    if highest > most:
        rule = f"labels must be at most {most}, the number of classes"
        return _Looked(case.id, reason=f"case {case.id}: {rule}, found {highest}")
    partly = (case.partial or case.annotated) and settings.unmarked == "ignore"
    return _Looked(case.id, highest, bool(partly or IGNORE in values))


def _write(job: _Job) -> tuple[str, str | None]:
    return job.case.id, why_not(lambda: _write_case(job))


def _write_case(job: _Job) -> None:
    case, part = job.case, "Ts" if job.case.split == "test" else "Tr"
    label = read_case_label(case)
    grid, label = _reference(case, label, job.settings)
    images = []
    for name in job.modalities:
        fill = modality(name).fill
        if name not in case.volumes:
            images.append(np.full(grid.shape, fill, np.float32))
            continue
        volume = read_volume(case.volumes[name], case.id)
        if not grid.overlap(volume.grid):
            raise DataError(
                f"{name} must lie on the reference", case=case.id, file=case.volumes[name]
            )
        same = volume.grid.same_as(grid)
        images.append(
            volume.array if same else resample(volume.array, volume.grid, grid, fill=fill)
        )
    if label:
        mask = label.array.astype(np.uint8)
        mask[label.array == IGNORE] = job.classes + 1
        if (case.partial or case.annotated) and job.settings.unmarked == "ignore":
            mask[label.array == 0] = job.classes + 1
        write_volume(job.folder / f"labels{part}" / f"{case.id}{ENDING}", mask, grid)
    for number, image in enumerate(images):
        file = job.folder / f"images{part}" / f"{case.id}_{number:04d}{ENDING}"
        write_volume(file, image, grid, _smallest(image))


def _reference(
    case: Case, label: Volume | None, settings: NnunetExport
) -> tuple[Grid, Volume | None]:
    """Return the grid that the label was drawn on, else of the modality that counts; the label."""
    if label:
        grids = {name: read_grid(file, case.id) for name, file in case.volumes.items()}
        name = drawn_on(label.grid, grids)
        # The scan that it was drawn on may be the one that the case lacks.
        grid = grids[name] if name else label.grid
        return grid, place_mask(label, grid, case=case.id, file=label_file(case))[0]
    order = [settings.reference or "", "ct", *case.volumes]
    first = next(name for name in order if name in case.volumes)
    return read_grid(case.volumes[first], case.id), None


def _smallest(image: np.ndarray) -> type[np.generic]:
    """Return int16 where it loses nothing, else float32."""
    fits = np.abs(image).max() <= 32767 and bool((image == np.round(image)).all())
    return np.int16 if fits else np.float32


def _check_target(out: Path) -> None:
    if not re.fullmatch(r"Dataset\d{3}_\S+", out.name):
        raise SettingsError(
            "nnU-Net wants a folder called DatasetXXX_Name",
            found=out.name,
            remedy="as in Dataset501_Nodes",
        )


def _is_ours(out: Path) -> bool:
    """Say whether an earlier export wrote a dataset."""
    file = out / "dataset.json"
    return file.is_file() and "hilum" in read_json(file)


def _order(cases: Iterable[Case]) -> tuple[str, ...]:
    """Return every modality, CT first, then PET, then by name."""
    names = sorted({name for case in cases for name in case.volumes})
    first = {"ct": 0, "pet": 1}
    return tuple(sorted(names, key=lambda name: (first.get(name.split("_")[0], 2), name)))


def _classes(settings: NnunetExport, highest: int) -> tuple[str, ...]:
    return settings.classes or tuple(f"class_{value}" for value in range(1, max(highest, 1) + 1))
