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
        raters: Files of labels by the names of those who drew them. Without `label` they are fused
            to one; with it, `label` is what counts and they say how raters differ.
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
    raters: dict[str, Path] = field(default_factory=dict)

    @property
    def labelled(self) -> bool:
        """Whether it has a label, or those of raters."""
        return self.label is not None or bool(self.raters)

    @property
    def files(self) -> dict[str, Path]:
        """All files by modality, `label`, `label_<rater>` and `anatomy`."""
        raters = {f"label_{name}": file for name, file in self.raters.items()}
        more = {"label": self.label, **raters, "anatomy": self.anatomy}
        return self.volumes | {name: file for name, file in more.items() if file is not None}
