"""Settings of `hilum annotate propose`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.settings import Settings

Format = Literal["slicer", "itksnap", "dicom"]


class ProposalSettings(Settings):
    """How sensitive proposals are, and what is written."""

    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="probability above which a voxel is proposed; empty: half of the lowest "
        "threshold of the segmenter's operating point, 0.25 for the most probable class",
    )
    min_volume_ml: float = Field(
        0.05, ge=0, description="minimum volume of a proposal, ml; nothing else is filtered"
    )
    formats: tuple[Format, ...] = Field(
        ("slicer", "itksnap"),
        description="formats next to NIfTI: slicer (.seg.nrrd), itksnap (workspace), dicom (SEG)",
    )
    scans: bool = Field(
        False, description="copy the scans next to the masks, to hand the folder to somebody"
    )
