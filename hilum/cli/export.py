"""The command of the front door that writes networks and masks in the form of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.core.errors import UserError

from .console import clean_stop, say
from .dicom import Form, FormOption, Names, Parts, PartsOption, SeriesUid, export_dicom

TOLERANCE = 1e-3
COPIES = ("huggingface", "state_dict")
"""Targets that hold the weights as they are: no output is compared."""


@clean_stop
def export(
    target: Annotated[
        str,
        typer.Argument(
            help="huggingface, state_dict, nnunet, onnx, torchscript, pt2 or monai_bundle; "
            "dicom for a mask."
        ),
    ],
    folder: Annotated[
        Path, typer.Argument(help="Encoder or segmenter folder; dicom: MASK.nii.gz.")
    ],
    out: Annotated[Path, typer.Option(help="New folder; an earlier export is replaced.")],
    scan: Annotated[
        Path | None, typer.Argument(help="dicom: folder of the CT series that was segmented.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Maximum difference of an output from hilum's.")
    ] = TOLERANCE,
    form: FormOption = Form.seg,
    segments: PartsOption = Parts.nodes,
    name: Names = None,
    series: SeriesUid = None,
) -> None:
    """Write an encoder, a segmenter or a mask in the format of another tool.

    Networks are compared with hilum's on the same inputs first.

    `hilum export dicom MASK.nii.gz SERIES_DIR --out DIR --as seg` writes a mask as DICOM SEG or
    RTSTRUCT on the slices of its CT, read again and compared.
    """
    options = {
        "--as": form is not Form.seg,
        "--segments": segments is not Parts.nodes,
        "--name": bool(name),
        "--series": series is not None,
    }
    others = {"--tolerance": tolerance != TOLERANCE}
    if target != "dicom":
        others = {**options, **(others if target in COPIES else {})}
    for option, asked in others.items():
        if asked:
            raise UserError(
                f"{option} says nothing to {target}",
                remedy=f"leave out {option}; `hilum export --help` says what it is for",
            )
    if target == "dicom":
        return export_dicom(
            folder, scan, out, form=form, segments=segments, names=name or (), series=series
        )
    if scan is not None:
        raise UserError(
            f"{target} is made from one folder",
            found=f"{scan} after it",
            remedy="leave out what follows the folder",
        )
    from hilum.core.files import read_json
    from hilum.exchange.networks_out.exporting import REPORT, TARGETS
    from hilum.exchange.networks_out.exporting import export as run

    written = run(folder, target, out, tolerance=tolerance)
    about = read_json(written / REPORT)
    say(f"{TARGETS[target].title}: {written}")
    if "largest_difference" in about:
        say(f"largest difference from our output: {about['largest_difference']:.2g}")
    return None
