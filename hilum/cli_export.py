"""The command of the front door that writes networks in the form of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hilum.console import clean_stop, say


@clean_stop
def export(
    target: Annotated[
        str,
        typer.Argument(
            help="huggingface, state_dict, nnunet, onnx, torchscript, pt2 or monai_bundle."
        ),
    ],
    folder: Annotated[Path, typer.Argument(help="Encoder folder or segmenter folder.")],
    out: Annotated[Path, typer.Option(help="New folder; an earlier export is replaced.")],
    tolerance: Annotated[
        float, typer.Option(min=0, help="Largest difference of an output from ours.")
    ] = 1e-3,
) -> None:
    """Write an encoder or a segmenter in the form of another tool, outputs compared with ours."""
    from hilum.core.files import read_json
    from hilum.exchange.exporting import REPORT, TARGETS
    from hilum.exchange.exporting import export as run

    written = run(folder, target, out, tolerance=tolerance)
    about = read_json(written / REPORT)
    say(f"{TARGETS[target].title}: {written}")
    if "largest_difference" in about:
        say(f"largest difference from our output: {about['largest_difference']:.2g}")
