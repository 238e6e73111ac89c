"""Labels of several raters of one case: side by side in the manifest, or one that counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hilum.core.case import Case

UNNAMED = "first"
"""Rater of a label that no version tells of."""


def counts(case: Case, labels: Path, rater: str, together: bool, use: bool) -> bool:
    """Tell whether a rater's label may count: with others, or alone.

    Alone if the case has none, or one of this rater, or if that is asked for.

    Args:
        case: Of the manifest.
        labels: Folder of the versions.
        rater: Who drew it.
        together: Whether the labels of several raters stand side by side.
        use: Whether it is to take the place of another's.
    """
    if together or use or not case.labelled or rater.lower() in case.raters:
        return True
    return case.label is not None and _rater_of(case.label, case.id, labels) == rater


def with_label(case: Case, labels: Path, rater: str, file: Path, together: bool) -> Case:
    """Return a case with a rater's new label.

    Whoever has a column keeps it. The whole review replaces a partial label; what is unknown stands
    in the mask as 255.

    Args:
        case: Of before.
        labels: Folder of the versions.
        rater: Who drew it.
        file: The label.
        together: Whether the labels of others stay next to it.
    """
    own = rater.lower()
    if own in case.raters or (together and case.raters):
        return replace(case, raters={**case.raters, own: file}, partial=False)
    before = "" if case.label is None else _rater_of(case.label, case.id, labels) or UNNAMED
    if together and case.label is not None and before.lower() != own:
        both = {before.lower(): case.label, own: file}
        return replace(case, label=None, raters=both, partial=False)
    return replace(case, label=file, raters={}, partial=False)


def _rater_of(label: Path, case: str, labels: Path) -> str:
    """Return who drew a version of a label; nothing of a file that lies elsewhere."""
    place = (labels / case).absolute()
    inside = label.absolute()
    return inside.relative_to(place).parts[0] if inside.is_relative_to(place) else ""
