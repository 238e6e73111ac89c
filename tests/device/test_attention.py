"""Attention reaches torch in forms that a fast kernel of a GPU takes, seen on a pretended one.

`torch.backends.cuda.can_use_flash_attention` asks for a real GPU first. So the conditions that it
goes on to check are written down here, from torch's `sdp_utils.cpp`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from hilum.contracts import pretext
from hilum.contracts.host_reads import pretended_gpu
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.encoders import ENCODERS
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

SIDES = (96, 96, 96)
ATTENDING = ("primus", "vit", "videomae", "slices", "vit_slices")
OWN_ATTENTION = ("swin",)
"""MONAI's windows add a learned bias to the scores in a product of their own."""


class Kernels(TorchFunctionMode):
    """Notes which fast kernels would take each call."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[set[str]] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            self.found.append(kernels(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))


def kernels(q: Tensor, k: Tensor, v: Tensor, attn_mask: Any = None, *_: Any, **__: Any) -> set[str]:
    """Return which of torch's fast kernels take a call; autocast halves the numbers before."""
    size = q.shape[-1]
    dense = all(x.ndim == 4 and x.shape[-1] == size and x.stride(-1) == 1 for x in (q, k, v))
    if not dense or 0 in q.shape or q.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return set()
    found = set()
    if attn_mask is None and size <= 256:
        found.add("flash")
    if size % 8 == 0 and (attn_mask is None or _broadcasts(attn_mask, (*q.shape[:3], k.shape[2]))):
        found.add("memory-efficient")
    return found


def _broadcasts(mask: Tensor, shape: tuple[int, ...]) -> bool:
    sizes = zip(mask.shape, shape, strict=True)
    return not mask.requires_grad and all(have in (1, wanted) for have, wanted in sizes)


def called(network: torch.nn.Module, *inputs: Tensor) -> list[set[str]]:
    with pretended_gpu() as move, Kernels() as watch:
        move(network)(*(torch.empty(x.shape, dtype=x.dtype, device="cuda") for x in inputs))
    return watch.found


def test_calls_that_no_fast_kernel_takes_are_known() -> None:
    q = torch.zeros(2, 4, 8, 16)
    mask = torch.ones(2, 1, 1, 8, dtype=torch.bool)
    assert kernels(q, q, q) == {"flash", "memory-efficient"}
    assert kernels(q, q, q, mask) == {"memory-efficient"}
    assert kernels(q[..., :12], q[..., :12], q[..., :12]) == {"flash"}, "torch fills it up"
    assert not kernels(q[..., :12], q[..., :12], q[..., :12], mask)
    assert not kernels(q, q, q, mask.float().requires_grad_())
    assert not kernels(q.double(), q.double(), q.double())
    assert not kernels(*[q.transpose(2, 3)] * 3)


@pytest.mark.parametrize("name", ATTENDING)
def test_an_encoder_attends_through_a_fast_kernel(name: str) -> None:
    with torch.device("meta"):
        encoder = build(ENCODERS, {"name": name, "size": "small"}, in_channels=2)
    found = called(encoder, torch.empty(1, 2, *SIDES, device="meta"))
    assert found
    assert all(found)


def test_every_encoder_that_attends_is_looked_at() -> None:
    for name in set(ENCODERS.ours) - {*ATTENDING, *OWN_ATTENTION}:
        encoder = build(ENCODERS, {"name": name, **ENCODERS[name].small}, in_channels=2).eval()
        with Kernels() as watch, torch.no_grad():
            encoder(torch.zeros(1, 2, 32, 32, 32))
        assert not watch.found, name
        assert not [m for m in encoder.modules() if "attention" in type(m).__name__.lower()], name


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
@pytest.mark.parametrize("name", ["cross_attention", "bottleneck"])
def test_a_strategy_attends_through_a_fast_kernel(name: str, size: str) -> None:
    values = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": size},
        "fusion": {"name": name},
        "patch": SIDES,
        "spacing": (3, 2, 2),
    }
    with torch.device("meta"):
        segmenter = Segmenter(validate(SegmenterConfig, values))
    image = torch.empty(1, 2, *SIDES, device="meta")
    found = called(segmenter, image, torch.ones(1, 2, dtype=torch.bool))
    assert found
    assert all(found)


def test_decoders_of_visible_tokens_attend_through_a_fast_kernel() -> None:
    task = pretext.TASKS["multimodal_tokens"]
    with torch.device("meta"):
        encoder = build(ENCODERS, {"name": "vit", "size": "tiny"}, in_channels=2)
        made = task(encoder=encoder, modalities=pretext.MODALITIES, tokens="separate")
    batch = pretext.batch_of(pretext.make("multimodal_tokens"), pretext.MIXED)
    with pretended_gpu() as move, Kernels() as watch:
        move(made).loss(move(batch))
    assert len(watch.found) > len(list(encoder.blocks.children()))
    assert all(watch.found)
