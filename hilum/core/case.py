"""A case: one study of one patient, as files on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

IGNORE = 255
"""Value of a label where nobody knows the class; it never counts."""


@dataclass(frozen=True)
class Case:
    """One study of one patient.

    Attributes:
        id: Unique in the cohort; used as a folder name.
        patient: Cases of one patient never straddle a split.
        volumes: File of each modality that the case has, by modality name.
        label: File of the mask, or `None` for an unlabelled case.
        site: Centre or scanner; empty if unknown.
        split: `train`, `test`, or empty if not assigned.
        partial: The label marks only some of what is there: unmarked voxels are unknown.
        annotated: Classes that were looked for when the label was drawn; empty: all. Voxels of the
            background may be of any other class.
        anatomy: File of a mask that numbers organs, where no node can be; any grid.
    """

    id: str
    patient: str
    volumes: dict[str, Path] = field(default_factory=dict)
    label: Path | None = None
    site: str = ""
    split: str = ""
    partial: bool = False
    annotated: tuple[int, ...] = ()
    anatomy: Path | None = None

    @property
    def files(self) -> dict[str, Path]:
        """All files by modality, `label` and `anatomy`."""
        more = {"label": self.label, "anatomy": self.anatomy}
        return self.volumes | {name: file for name, file in more.items() if file is not None}
