"""Export a segmenter to ONNX: any batch, fixed patch, availability as an input."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hilum.core.errors import UserError
from hilum.segmenter.segmenter import Segmenter

from .network import FinestLogits, check_equal, example, interface, open_segmenter, tracing

NAME = "model.onnx"


def export_onnx(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    """Write `model.onnx` and `config.json`, and compare it with ours on ONNX Runtime.

    Inputs are `image` and `available`, the output is `logits`, as `export.json` says.
    """
    segmenter = open_segmenter(folder)
    measured = write_onnx(segmenter, part / NAME, tolerance)
    shutil.copyfile(folder / "config.json", part / "config.json")
    return {**interface(segmenter), **measured}


def write_onnx(segmenter: Segmenter, file: Path, tolerance: float) -> dict[str, Any]:
    """Write the file, and return what was measured."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise UserError(
            "ONNX needs onnx, onnxruntime and onnxscript",
            found=str(error),
            remedy="pip install 'hilum[export]'",
        ) from None
    batch = torch.export.Dim("batch", min=1, max=1024)
    with tracing("ONNX"):
        program = torch.onnx.export(
            FinestLogits(segmenter),
            example(segmenter),
            dynamo=True,
            dynamic_shapes={"image": {0: batch}, "available": {0: batch}},
            input_names=["image", "available"],
            output_names=["logits"],
            verbose=False,
        )
        if program is None:
            raise UserError("torch.onnx must return a program")
        # Whoever has the file alone knows how its probabilities become a mask.
        point = segmenter.config.operating_point.model_dump_json(exclude={"record"})
        program.model.metadata_props["operating_point"] = point
        program.save(str(file))
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(image: Tensor, available: Tensor) -> Tensor:
        given = {"image": image.numpy(), "available": available.numpy()}
        return torch.from_numpy(session.run(["logits"], given)[0])

    opset = next(o.version for o in program.model_proto.opset_import if o.domain in ("", "ai.onnx"))
    return {"opset": opset, **check_equal(run, segmenter, tolerance, "ONNX")}
