"""`hilum export dicom`: a mask as DICOM SEG or RTSTRUCT on the slices of its CT."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import SettingsError, UserError

from .console import say


class Form(StrEnum):
    """Kinds of DICOM objects."""

    seg = "seg"
    rtstruct = "rtstruct"


class Parts(StrEnum):
    """What is a segment of its own."""

    nodes = "nodes"
    classes = "classes"


FormOption = Annotated[Form, typer.Option("--as", help="dicom: what to write.")]
PartsOption = Annotated[
    Parts, typer.Option(help="dicom: a segment for each node, or for each class.")
]
Names = Annotated[
    list[str] | None,
    typer.Option(help="dicom: what a class is called, as in 1=GTVn; repeat for more."),
]
SeriesUid = Annotated[
    str | None, typer.Option(help="dicom: SeriesInstanceUID, if the folder holds several.")
]


def export_dicom(
    mask: Path,
    scan: Path | None,
    out: Path,
    *,
    form: Form = Form.seg,
    segments: Parts = Parts.nodes,
    names: Sequence[str] = (),
    series: str | None = None,
) -> None:
    """Write `OUT/<mask>_seg.dcm` or `OUT/<mask>_rtstruct.dcm`.

    Args:
        mask: NIfTI mask on the grid of the series.
        scan: Folder of the series.
        out: Folder for the file; others in it stay.
        form: What to write.
        segments: One segment for each node, or for each class.
        names: Of classes, as in `1=GTVn`.
        series: SeriesInstanceUID, if the folder holds several.
    """
    from hilum.core.outputs import output
    from hilum.datasets.dicom.headers import require_pydicom
    from hilum.datasets.io.nifti import ENDINGS, read_label
    from hilum.exchange.dicom_out.regions import NAMES
    from hilum.exchange.dicom_out.rtstruct import write_rtstruct
    from hilum.exchange.dicom_out.seg import write_seg

    if scan is None:
        raise UserError(
            "a mask goes onto the slices of its scan",
            remedy="give the folder of the CT series after the mask",
        )
    require_pydicom()
    called = {**NAMES, **dict(_class_and_name(text) for text in names)}
    array, grid = read_label(mask)
    ending = next(end for end in ENDINGS if mask.name.lower().endswith(end))
    file = out / f"{mask.name[: -len(ending)]}_{form.value}.dcm"
    write = write_seg if form is Form.seg else write_rtstruct
    with output(out, "export dicom", inputs=[scan, mask]):
        write(array, grid, scan, file, segments=segments.value, names=called, series=series)
    say(f"wrote {file}, read it again: it holds the mask")


def _class_and_name(text: str) -> tuple[int, str]:
    value, sign, name = text.partition("=")
    if not (sign and name and value.isdigit() and 1 <= int(value) <= 254):
        raise SettingsError(
            "a name must be class=name with a class from 1 to 254",
            found=repr(text),
            remedy="as in 1=GTVn",
        )
    return int(value), name
