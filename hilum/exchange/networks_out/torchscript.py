"""Export a segmenter to TorchScript, which runs without our code, in Python and C++."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from hilum.segmenter.segmenter import Segmenter

from .network import FinestLogits, check_equal, example, interface, open_segmenter, tracing

NAME = "model.ts"


def export_torchscript(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `model.ts` and `config.json`; `torch.jit.load(file)(image, available)` predicts."""
    segmenter = open_segmenter(folder)
    measured = write_torchscript(segmenter, part / NAME, tolerance)
    shutil.copyfile(folder / "config.json", part / "config.json")
    return {**interface(segmenter), **measured}


def write_torchscript(segmenter: Segmenter, file: Path, tolerance: float) -> dict[str, Any]:
    """Write the file, and return what was measured with it once it is read again."""
    with tracing("TorchScript"):
        traced = torch.jit.trace(FinestLogits(segmenter), example(segmenter), check_trace=False)
        torch.jit.save(traced, str(file))
        again = torch.jit.load(str(file), map_location="cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return check_equal(again, segmenter, tolerance, "TorchScript")
