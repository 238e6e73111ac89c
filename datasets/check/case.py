"""Check one case: files, grids, values, label."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import UserError
from hilum.core.geometry import Grid

from ..io.nifti import Volume, read_grid, read_label, read_volume
from ..prepare.partial_labels import check_anatomy, organ_names
from ..raters.reading import read_case_label
from .alignment import alignment_problems
from .geometry import grid_problems, header_problems, orientation, overlap_problems
from .label import label_facts, label_problems, on_scan
from .report import Problem
from .thumbnails import picture
from .two_labels import two_label_problems
from .uptake import uptake_facts
from .values import value_problems


@dataclass
class CaseFindings:
    """What a case holds and what is wrong with it.

    Attributes:
        case: Name.
        problems: In the order of the checks.
        facts: Numbers for the report.
        hashes: Hash of the voxels of each modality.
        picture: Thumbnail, uint8 `[height, width, 3]`, if asked for.
    """

    case: str
    problems: list[Problem] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    picture: np.ndarray | None = None


def check_case(case: Case, show: tuple[str, ...] = ()) -> CaseFindings:
    """Return everything that is wrong with a case; never raises for what a file holds.

    Args:
        case: Files to read.
        show: Modalities of the thumbnail, one column each; none, no thumbnail.
    """
    findings = CaseFindings(case.id)
    findings.facts = {
        "patient": case.patient,
        "site": case.site,
        "split": case.split,
        "labelled": case.labelled,
        "modalities": {name: {} for name in case.volumes},
    }
    try:
        _examine(case, findings, show)
    except (Exception, RecursionError) as error:
        # One case that nobody thought of must not cost the report on all the others.
        found = f"{type(error).__name__}: {' '.join(str(error).split())}"
        remedy = "look at its files; if they are sound, please report this"
        findings.problems.append(
            Problem(case.id, "block", "the case must be checkable", found, remedy)
        )
    return findings


def _examine(case: Case, findings: CaseFindings, show: tuple[str, ...]) -> None:
    problems = findings.problems
    grids = _read_grids(case, findings)
    problems += header_problems(case)
    volumes = _read_volumes(case, grids, findings)
    label = None
    reference = "ct" if "ct" in grids else next(iter(grids), "")
    if case.labelled:
        try:
            label = read_case_label(case)
        except UserError as error:
            problems.append(Problem.of(error, case.id))
    if label is not None:
        drawn_on, label, found = on_scan(case, label, grids)
        # A scan that cannot be read may be the one that the label fits.
        if drawn_on or len(grids) == len(case.volumes):
            problems += found
        reference = drawn_on or reference
        findings.facts["label"] = label_facts(label)
        problems += label_problems(case, label, findings.facts["label"], volumes)
        problems += two_label_problems(case, label, findings.facts)
    findings.facts["reference"] = reference
    organs, liver = None, 0
    if reference and case.anatomy:
        try:
            check_anatomy(case, grids[reference])
            names = {name.lower(): number for number, name in organ_names(case.anatomy).items()}
            organs, liver = read_label(case.anatomy, case.id), names.get("liver", 0)
        except UserError as error:
            problems.append(Problem.of(error, case.id))
    if reference:
        problems += overlap_problems(case.id, grids, reference)
    problems += alignment_problems(case.id, volumes, findings.facts)
    for name, measured in uptake_facts(volumes, organs, liver).items():
        findings.facts["modalities"][name] |= measured
    if show and reference in volumes:
        findings.picture = picture(volumes, reference, label, show)


def _read_grids(case: Case, findings: CaseFindings) -> dict[str, Grid]:
    grids = {}
    for name, file in case.volumes.items():
        try:
            grids[name] = read_grid(file, case.id)
        except UserError as error:
            findings.problems.append(Problem.of(error, case.id))
            continue
        findings.problems += grid_problems(case.id, name, grids[name])
        findings.facts["modalities"][name] = {
            "shape": grids[name].shape,
            "spacing": [round(s, 4) for s in grids[name].spacing],
            "orientation": orientation(grids[name]),
        }
    return grids


def _read_volumes(case: Case, grids: dict[str, Grid], findings: CaseFindings) -> dict[str, Volume]:
    volumes = {}
    for name in grids:
        try:
            volume = read_volume(case.volumes[name], case.id)
        except UserError as error:
            findings.problems.append(Problem.of(error, case.id))
            continue
        findings.problems += value_problems(case.id, name, volume.array)
        low, high = float(volume.array.min()), float(volume.array.max())
        findings.facts["modalities"][name]["range"] = [low, high]
        digest = hashlib.sha256(repr(volume.array.shape).encode())
        digest.update(volume.array.data)
        findings.hashes[name] = digest.hexdigest()[:16]
        volumes[name] = volume
    return volumes
