"""Exported networks give our logits for every subset of modalities, or are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from hilum.core.errors import CheckpointError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.exchange.networks_out.exporting import export
from hilum.exchange.networks_out.network import FinestLogits, cases, check_equal
from hilum.exchange.networks_out.onnx import write_onnx
from hilum.fusion.base import check_available
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

SIDES = (8, 12, 16)
FUSION: dict[str, dict[str, Any]] = {
    "single": {"name": "single", "modality": "pet"},
    "early": {"name": "early"},
    "late": {"name": "late", "weights": "learned"},
    "cross_attention": {"name": "cross_attention", "heads": 2, "min_stride": 4},
}


def segmenter(**changes: Any) -> Segmenter:
    values: dict[str, Any] = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "fusion": FUSION["early"],
        "patch": SIDES,
        "spacing": (4.0, 4.0, 4.0),
    }
    torch.manual_seed(0)
    made = Segmenter(validate(SegmenterConfig, values | changes))
    for parameter in made.parameters():
        # Nothing may hide behind a zero start.
        nn.init.normal_(parameter, std=0.2)
    return made.eval()


def unseen(batch: int) -> tuple[Tensor, Tensor]:
    """Return inputs that no export was made or checked with."""
    generator = torch.Generator().manual_seed(batch)
    rows = [[True, True], [False, True], [True, False]]
    available = torch.tensor([rows[i % 3] for i in range(batch)])
    image = torch.randn(batch, 2, *SIDES, generator=generator)
    return torch.where(available.view(batch, 2, 1, 1, 1), image, torch.nan), available


@pytest.fixture(autouse=True)
def unchecked() -> Iterator[None]:
    """Tracing gives functions symbols for numbers, which checks of types in tests refuse."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["early", "cross_attention"])
def test_onnx_runtime_gives_our_logits(fusion: str, tmp_path: Path) -> None:
    ours = segmenter(fusion=FUSION[fusion])
    folder = export(ours.save(tmp_path / "s"), "onnx", tmp_path / "onnx")
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    assert session.get_inputs()[0].shape[1:] == [2, *SIDES]
    for batch in (1, 4):
        image, available = unseen(batch)
        given = {"image": image.numpy(), "available": available.numpy()}
        theirs = session.run(None, given)[0]
        with torch.no_grad():
            expected = ours(image, available)[0].numpy()
        np.testing.assert_allclose(theirs, expected, rtol=0, atol=1e-4)
    report = read_json(folder / "export.json")
    assert 0 <= report["largest_difference"] < 1e-4 < report["largest_logit"]
    assert report["inputs"]["image"]["channels"] == ["ct", "pet"]
    assert read_json(folder / "config.json")["fusion"]["name"] == fusion


@pytest.mark.parametrize("fusion", FUSION)
def test_torchscript_gives_our_logits(fusion: str, tmp_path: Path) -> None:
    ours = segmenter(fusion=FUSION[fusion])
    folder = export(ours.save(tmp_path / "s"), "torchscript", tmp_path / "ts")
    theirs = torch.jit.load(str(folder / "model.ts"))
    for batch in (1, 4):
        with torch.no_grad():
            torch.testing.assert_close(
                theirs(*unseen(batch)), ours(*unseen(batch))[0], rtol=0, atol=1e-5
            )


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["late", "cross_attention"])
def test_torch_export_gives_our_logits(fusion: str, tmp_path: Path) -> None:
    ours = segmenter(fusion=FUSION[fusion])
    folder = export(ours.save(tmp_path / "s"), "pt2", tmp_path / "pt2")
    theirs = torch.export.load(str(folder / "model.pt2")).module()
    for batch in (1, 4):
        with torch.no_grad():
            torch.testing.assert_close(
                theirs(*unseen(batch)), ours(*unseen(batch))[0], rtol=0, atol=1e-5
            )


class Foreign(nn.Module):
    """Uses an operation that ONNX has not."""

    def forward(self, volumes: dict[str, Tensor], available: Tensor) -> list[Tensor]:
        return [torch.special.bessel_j1(torch.cat([volumes["ct"], volumes["pet"]], 1))]


def test_an_operation_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    ours = segmenter()
    ours.strategy = Foreign()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(CheckpointError, match=r"every operation .* must exist in ONNX") as caught:
        write_onnx(ours, tmp_path / "model.onnx", 1e-3)
    assert "bessel_j1" in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="every case needs at least one modality"):
        check_available(torch.zeros(1, 2, dtype=torch.bool))


def test_another_output_is_refused() -> None:
    ours = segmenter()
    exact = check_equal(FinestLogits(ours), ours, 0.0, "X")
    assert exact["largest_difference"] == 0
    assert exact["compared_cases"] == 4
    with pytest.raises(CheckpointError, match=r"must equal ours within 0\.01, found 0\.02"):
        check_equal(lambda x, a: ours(x, a)[0] + 0.02, ours, 0.01, "X")
    with pytest.raises(CheckpointError, match="found inf"):
        check_equal(lambda x, a: ours(x, a)[0] * torch.nan, ours, 0.01, "X")


def test_every_subset_of_modalities_is_compared() -> None:
    available = cases(segmenter())[1][1]
    assert {tuple(row) for row in available.tolist()} == {
        (True, True),
        (True, False),
        (False, True),
    }
