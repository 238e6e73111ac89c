"""Settings of everything that reads DICOM: the importer, tables of folders, prediction."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.settings import Settings

from .polygons import EdgeRule

Pairing = Literal["reference", "patient"]


class DicomLayout(Settings):
    """How PET becomes SUV, what contours mean, and which studies are one case."""

    suv: Literal["bw", "lbm", "bsa"] = Field(
        "bw", description="SUV by body weight, lean body mass or body surface area"
    )
    assume: str | None = Field(
        None, description="values of SUV tags that the header lacks, as in weight_kg=70"
    )
    labels: dict[str, int] | None = Field(
        None, description="class by a pattern of region names; empty: the usual names of nodes"
    )
    edge: EdgeRule = Field(
        "half-open",
        description="rule for voxel centres exactly on a contour: half-open counts those of upper "
        "and left edges, inside counts all (contours of rt-utils and OpenCV)",
    )
    pair: Pairing = Field(
        "reference",
        description="studies that are one case: those of one frame of reference, or all of a "
        "patient that lack what the other has, such as a PET/CT and an MR",
    )
    pair_days: int = Field(
        60, ge=0, description="upper bound of days between studies that pair=patient joins"
    )
