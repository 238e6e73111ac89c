"""Propose masks for labellers: the Python side of `hilum annotate propose`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, UserError
from hilum.core.files import atomic_folder, hash_of, hash_of_file
from hilum.core.outputs import check_output, mark
from hilum.core.settings import validate
from hilum.datasets.io.content import hash_of_scan
from hilum.datasets.io.nifti import Volume, read_volume, write_volume
from hilum.datasets.labelling import read_choice
from hilum.datasets.manifest import read_manifest
from hilum.datasets.prepare.case import prepare_case
from hilum.evaluation.metrics.node_record import NodeRecord, write_nodes
from hilum.exchange.dicom_out.seg import write_seg
from hilum.segmenter.inference.predict_case import usable
from hilum.segmenter.operating.apply import operating_at
from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.prediction.already import PredictSettings, key_of
from hilum.segmenter.prediction.identity import load
from hilum.segmenter.prediction.original_grid import map_on_source, mask_on_source, nodes_on_source
from hilum.segmenter.prediction.page import write_page
from hilum.segmenter.prediction.patient import predict_maps, preparation
from hilum.segmenter.predictor import Predictor

from ..formats.itksnap import write_workspace
from ..formats.slicer import write_segmentation
from .numbering import by_doubt, numbered, segments_of
from .record import NAME, PROPOSED, Proposal, read_proposal
from .series import Origin, named_series, origin_of, say_without
from .settings import ProposalSettings

Progress = Callable[[int, int, str], None]
"""Called with how many cases are done, how many there are, and what was done last."""


def propose(
    segmenter: str | Path | Predictor,
    manifest: str | Path,
    out: str | Path,
    *,
    plan: str | Path | None = None,
    dicom: Mapping[str, Path] | None = None,
    settings: ProposalSettings | None = None,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> list[Proposal]:
    """Write proposals for the patients of a plan, or for all that have no label and do not test.

    Each case gets a folder: `<case>.nii.gz` (classes, on the grid of the scan), a `.seg.nrrd` with
    a named, coloured segment per proposal, status *not started*, a workspace of ITK-SNAP,
    `<case>_probability.nii.gz`, a page with the proposals, the most doubtful first, and
    `proposal.json`. A folder that is there is never written over.

    Args:
        segmenter: Segmenter folder, run, or folder of folds; or a segmenter in memory.
        manifest: Names the scans.
        out: A folder per case.
        plan: `labelling.csv`.
        dicom: Folder with the DICOM series of a case's scan, by case, for DICOM SEG; by default
            the one that the case was imported from.
        settings: How sensitive, and which formats.
        say: Gets what is left out, and where the rest is.
        progress: Called after each case.

    Returns:
        What was proposed, in the order of the cases.

    Raises:
        DataError: If cases were bad, or have proposals of another segmenter; the others are done.
    """
    settings = settings or validate(ProposalSettings, {})
    check_output(out, "annotate propose", earlier=_has_proposals)
    model, identity = load(segmenter)
    point = sensitive(model, settings)
    place = "in memory" if isinstance(segmenter, Predictor) else str(segmenter)
    by = {"segmenter": place, "identity": identity}
    cases = _cases(Path(manifest), plan, say)
    named = named_series(dicom or {}, settings.formats, cases)
    mark(out, "annotate propose")
    found: list[Proposal] = []
    bad: dict[str, str] = {}
    with operating_at(model, point):
        for number, case in enumerate(cases, 1):
            try:
                origin = named.get(case.id)
                found.append(_one(model, by, case, Path(out), point, settings, origin))
            except UserError as error:
                bad[case.id] = str(error)
            if progress:
                progress(number, len(cases), case.id)
    if "dicom" in settings.formats:
        say_without(cases, dicom or {}, say)
    if bad:
        raise DataError(
            f"every case must be good; {len(found)} of {len(cases)} have proposals",
            found="\n  " + "\n  ".join(bad.values()),
            remedy="\nmend them and run the same command again",
        )
    return found


def _has_proposals(out: Path) -> bool:
    """Say whether a folder is one of proposals of before folders were marked."""
    return any((folder / NAME).is_file() for folder in out.iterdir())


def sensitive(model: Predictor, settings: ProposalSettings) -> OperatingPoint:
    """Return the point to propose at: a lower threshold, and only specks dropped."""
    own = model.config.operating_point
    threshold = settings.threshold
    if threshold is None:
        threshold = min(own.thresholds or (0.5,)) / 2
    return validate(
        OperatingPoint,
        {
            "thresholds": (threshold,) * (model.classes - 1),
            "temperature": own.temperature,
            "min_volume_ml": settings.min_volume_ml,
            "record": {"by": "proposals"},
        },
    )


def _cases(manifest: Path, plan: str | Path | None, say: Callable[[str], None]) -> list[Case]:
    """Return the cases to propose for, in the order of the plan."""
    every = read_manifest(manifest)
    tested = {case.patient for case in every if case.split == "test"}
    if plan is None:
        cases = [c for c in every if not c.labelled and c.patient not in tested]
        say(f"{len(cases)} cases without a label that do not test")
    else:
        names = read_choice(plan)
        known = {case.patient for case in every}
        if missing := [name for name in names if name not in known]:
            raise DataError(
                "the manifest must have every patient of the plan",
                file=manifest,
                found=f"none called {', '.join(missing[:5])}",
                remedy="plan again on a store of this manifest",
            )
        if wrong := [name for name in names if name in tested]:
            raise DataError(
                "no patient that tests may get proposals: the test would judge the network by them",
                file=plan,
                found=", ".join(wrong[:5]),
                remedy="plan again with the split of the manifest",
            )
        cases = [case for name in names for case in every if case.patient == name]
    if not cases:
        raise DataError("there must be a case to propose for", file=manifest, remedy="add cases")
    return cases


def _one(
    model: Predictor,
    by: dict[str, str],
    case: Case,
    out: Path,
    point: OperatingPoint,
    settings: ProposalSettings,
    origin: Origin | None,
) -> Proposal:
    how = PredictSettings(model.config.inference, point)
    key = hash_of([key_of(case, by["identity"], how), settings.formats, settings.scans])
    folder = out / case.id
    if folder.exists():
        before = read_proposal(folder)
        if before.key != key:
            raise DataError(
                "proposals of other weights or settings are there, perhaps corrected already",
                case=case.id,
                file=folder,
                remedy="choose another --out, or remove them",
            )
        return before
    prepared = prepare_case(case, preparation(model, case), with_label=False)
    names = usable(model, prepared.modalities, None, case.id)
    maps = predict_maps(model, prepared, modalities=names, uncertainty="entropy")
    grid = prepared.source_grid
    mask = mask_on_source(maps.foreground, prepared, point, names, model.config.overlapping)
    nodes = by_doubt(nodes_on_source(mask, grid, case, prepared, maps))
    total = maps.either
    classes = class_names(model)
    reference = _reference(case, mask.shape, grid.affine)
    origin = origin or origin_of(case, reference)
    found = Proposal(
        case=case.id,
        folder=folder,
        patient=case.patient,
        grid=grid,
        scan=reference,
        scans=prepared.scans,
        names=classes,
        mask=hash_of_scan(Volume(mask, grid)),
        by=by,
        point=point.words(),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        key=key,
        nodes=[node.row for node in nodes],
    )
    with atomic_folder(folder) as part:
        write_volume(part / f"{case.id}.nii.gz", mask, grid, np.uint8)
        write_volume(part / PROPOSED, mask, grid, np.uint8)
        write_volume(part / f"{case.id}_probability.nii.gz", map_on_source(total, prepared), grid)
        scans = dict(case.volumes)
        if settings.scans:
            scans = {name: _copied(file, part, case.id, name) for name, file in scans.items()}
        _formats(part, found, mask, nodes, scans, settings, origin)
        write_nodes(part, case.id, nodes)
        volumes = {name: prepared.images[i] for i, name in enumerate(prepared.modalities)}
        write_page(
            part / f"{case.id}.html",
            f"{case.id}: proposals",
            volumes,
            prepared.grid,
            maps.mask,
            nodes,
            _about(found, len(nodes), part),
        )
        masks = (f"{case.id}{end}" for end in (".nii.gz", ".seg.nrrd", ".dcm"))
        found.files.update({n: hash_of_file(part / n) for n in masks if (part / n).is_file()})
        found.write(part)
    return found


def _formats(
    part: Path,
    proposal: Proposal,
    mask: np.ndarray,
    nodes: Sequence[NodeRecord],
    scans: Mapping[str, Path],
    settings: ProposalSettings,
    origin: Origin | None,
) -> None:
    """Write what labelling programs open, into the part of the folder that is being made."""
    case, grid = proposal.case, proposal.grid
    segments = segments_of(nodes, proposal.names)
    if "slicer" in settings.formats:
        labels = numbered(mask, grid, nodes)
        write_segmentation(part / f"{case}.seg.nrrd", labels, grid, segments)
    if "itksnap" in settings.formats:
        first = {proposal.scan: scans[proposal.scan]} if proposal.scan in scans else {}
        order = first | dict(scans)
        # The folder is made beside its place, so that the way from both is the same.
        beside = {name: file.absolute() for name, file in order.items()}
        table = [(n, name, (1.0, 0.3, 0.2)) for n, name in enumerate(proposal.names, 1)]
        write_workspace(
            part / f"{case}.itksnap", beside, part / f"{case}.nii.gz", table, proposal.folder
        )
    if "dicom" in settings.formats and origin is not None and mask.any():
        write_seg(
            mask,
            grid,
            origin.folder,
            part / f"{case}.dcm",
            names=dict(enumerate(proposal.names, 1)),
            algorithm="hilum proposal",
            series=origin.series,
        )


def _copied(file: Path, part: Path, case: str, name: str) -> Path:
    ending = "".join(file.suffixes[-2:]) if file.name.endswith(".gz") else file.suffix
    return Path(shutil.copyfile(file, part / f"{case}_{name}{ending}"))


def class_names(model: Predictor) -> tuple[str, ...]:
    """Return the names of the classes but the background."""
    several = tuple(f"class {n}" for n in range(1, model.classes))
    return model.config.names or (("node",) if model.classes == 2 else several)


def _reference(case: Case, shape: Sequence[int], affine: np.ndarray) -> str:
    """Return the modality whose grid the masks have; empty if none has it."""
    for name, file in case.volumes.items():
        grid = read_volume(file, case.id).grid
        if grid.shape == tuple(shape) and np.allclose(grid.affine, affine):
            return name
    return ""


def _about(proposal: Proposal, count: int, part: Path) -> dict[str, object]:
    return {
        "to do": "accept, redraw or delete each proposal, and add what is missing; in 3D Slicer "
        "set the status of what you have looked at to Completed",
        "proposals": f"{count}, the most doubtful first (mean entropy)",
        "proposed at": proposal.point,
        "by": proposal.by["segmenter"],
        "files": ", ".join(sorted(file.name for file in part.iterdir())),
        "made": proposal.made,
    }
