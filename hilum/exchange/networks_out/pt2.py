"""Export a segmenter by torch.export: any batch, fixed patch, for torch's compilers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch

from hilum.segmenter.segmenter import Segmenter

from .network import FinestLogits, check_equal, example, interface, open_segmenter, tracing

NAME = "model.pt2"


def export_pt2(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `model.pt2` and `config.json`.

    `torch.export.load(file).module()(image, available)` predicts.
    """
    segmenter = open_segmenter(folder)
    measured = write_pt2(segmenter, part / NAME, tolerance)
    shutil.copyfile(folder / "config.json", part / "config.json")
    return {**interface(segmenter), **measured}


def write_pt2(segmenter: Segmenter, file: Path, tolerance: float) -> dict[str, Any]:
    """Write the file, and return what was measured with it once it is read again."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    with tracing("torch.export"):
        program = torch.export.export(
            FinestLogits(segmenter),
            example(segmenter),
            dynamic_shapes={"image": {0: batch}, "available": {0: batch}},
        )
        torch.export.save(program, str(file))
        again = torch.export.load(str(file)).module()
    return check_equal(again, segmenter, tolerance, "torch.export")
