"""Import DICOM studies: the front of `datasets.dicom`, with its settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..core.settings import Settings
from .source import Imported, Source


class DicomLayout(Settings):
    """How PET becomes SUV."""

    suv: Literal["bw", "lbm", "bsa"] = Field(
        "bw", description="SUV by body weight, lean body mass or body surface area"
    )
    assume: str | None = Field(None, description="what to take for granted where a tag is missing")


def import_dicom_layout(source: Source) -> Imported:
    """Read every study below a folder; see `datasets.dicom.import_dicom`."""
    from .dicom import import_dicom

    settings = source.settings(DicomLayout)
    cases = import_dicom(
        source.root,
        source.out,
        source.names,
        suv=settings.suv,
        assume=settings.assume,
        workers=source.workers,
        progress=source.progress,
    )
    return Imported(cases=list(cases))
