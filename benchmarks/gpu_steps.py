"""Training steps that `gpu.py` measures: hilum's in several forms, and nnU-Net's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hilum.core.settings import validate
from hilum.losses.dice_ce import DiceCeLoss
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

MODALITIES = ("ct", "pet")
PEAKS = {"H100": 989, "H200": 989, "A100": 312, "L40": 181, "A10": 125, "4090": 165, "3090": 71}
"""Dense bfloat16 TFLOP/s by data sheet, by a part of the device's name; float32 has another."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        device: `cuda`, or `cpu` to try the script.
        sides: Of the patches.
        steps: That count.
        warm: In front of them.
        size: Of the encoder.
        backend: Of torch.compile; its default compiles kernels.
        precisions: Number formats of a step.
        ways: How it is computed.
    """

    device: str = "cuda"
    sides: tuple[int, ...] = (96, 128)
    steps: int = 20
    warm: int = 5
    size: str = "small"
    backend: str | None = None
    precisions: tuple[str, ...] = ("float32", "bfloat16")
    ways: tuple[str, ...] = ("plain", "channels_last", "compiled", "graphs")


SMOKE = Scale("cpu", (32,), 1, 1, "tiny", "eager", ("bfloat16",), ("channels_last", "graphs"))


def network(size: str) -> Segmenter:
    """Return the default network of a CT/PET run."""
    values = {
        "modalities": MODALITIES,
        "encoder": {"name": "resenc", "size": size},
        "fusion": {"name": "early"},
        "patch": (128, 128, 128),
        "spacing": (3, 2, 2),
    }
    return Segmenter(validate(SegmenterConfig, values))


def steps(scale: Scale) -> dict[str, Any]:
    """Return seconds, model FLOPs per second and peak memory of training steps.

    `mfu` is the fraction of the device's bfloat16 peak, where that is known.
    """
    found: dict[str, Any] = {}
    for side in scale.sides:
        for precision in scale.precisions:
            for way in scale.ways:
                found[f"{side} {precision} {way}"] = tried(step_of, side, precision, way, scale)
        found[f"{side} nnU-Net's own step"] = tried(nnunet_step, side, scale)
    return found


def tried(measure: Callable[..., dict[str, float]], *words: Any) -> dict[str, float] | str:
    """Return what was measured, or why it was not; either way memory and graphs are given back."""
    try:
        return measure(*words)
    except (RuntimeError, torch.OutOfMemoryError) as error:
        return str(error)[:300]
    finally:
        torch._dynamo.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def step_of(side: int, precision: str, way: str, scale: Scale) -> dict[str, float]:
    """Measure a training step of batches of two: forward, loss, backward, clipping, AdamW."""
    torch.manual_seed(0)
    device = scale.device
    segmenter, loss = network(scale.size).to(device), DiceCeLoss()
    if way != "plain":
        segmenter.to(memory_format=torch.channels_last_3d)
    if way in ("compiled", "graphs"):
        mode = {"mode": "reduce-overhead"} if way == "graphs" else {}
        how = mode if scale.backend is None else {"backend": scale.backend}
        segmenter.strategy.compile(dynamic=False, **how)
    optimiser = torch.optim.AdamW(segmenter.parameters(), 1e-4, fused=device == "cuda")
    image, label = inputs(side, device)
    available = torch.ones(2, len(MODALITIES), dtype=torch.bool, device=device)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16"):
            logits = segmenter(image, available)
        loss(logits, label)[0].backward()
        torch.nn.utils.clip_grad_norm_(segmenter.parameters(), 12.0)
        optimiser.step()
        optimiser.zero_grad()

    return measured(step, side, scale)


def nnunet_step(side: int, scale: Scale) -> dict[str, float]:
    """Measure nnU-Net's `train_step` on hilum's network: its loss, scaler, SGD and autocast."""
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    torch.manual_seed(0)
    device = torch.device(scale.device)
    segmenter = network(scale.size).to(device)
    available = torch.ones(2, len(MODALITIES), dtype=torch.bool, device=device)
    image, label = inputs(side, scale.device)
    with torch.no_grad():
        levels = [x.shape[2:] for x in segmenter(image, available)]
    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    plain = DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)
    weights = [0.5**number for number in range(len(levels))]
    trainer: Any = SimpleNamespace(
        device=device,
        network=Called(segmenter, available),
        loss=DeepSupervisionWrapper(plain, weights),
        optimizer=torch.optim.SGD(
            segmenter.parameters(), 0.01, weight_decay=3e-5, momentum=0.99, nesterov=True
        ),
        grad_scaler=torch.amp.GradScaler("cuda") if scale.device == "cuda" else None,
    )
    if scale.device == "cuda":  # as nnU-Net does by default
        trainer.network = torch.compile(trainer.network)
    targets = [torch.nn.functional.interpolate(label.float(), tuple(n)) for n in levels]
    batch = {"data": image, "target": targets}
    return measured(lambda: nnUNetTrainer.train_step(trainer, batch), side, scale)


class Called(torch.nn.Module):
    """A segmenter as nnU-Net calls a network: an image in, logits of each level out."""

    def __init__(self, segmenter: Segmenter, available: Tensor) -> None:
        super().__init__()
        self.segmenter, self.available = segmenter, available

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return logits, finest first."""
        return self.segmenter(image, self.available)


def inputs(side: int, device: str) -> tuple[Tensor, Tensor]:
    """Return two patches and their labels."""
    image = torch.randn(2, len(MODALITIES), side, side, side, device=device)
    return image, (torch.rand(2, 1, side, side, side, device=device) < 0.01).byte()


def measured(step: Callable[[], object], side: int, scale: Scale) -> dict[str, float]:
    """Return seconds, model FLOPs per second, their fraction of the peak, and memory of a step."""
    on_gpu = scale.device == "cuda"
    for _ in range(scale.warm):
        step()
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    for _ in range(scale.steps):
        step()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - began) / scale.steps
    rate = counted(side, scale.size) / seconds / 1e12
    found = {"seconds": seconds, "tflop_per_s": rate}
    if on_gpu:
        found["peak_gib"] = torch.cuda.max_memory_allocated() / 1024**3
        name = torch.cuda.get_device_name()
        peak = next((peak for part, peak in PEAKS.items() if part in name), None)
        if peak is not None:
            found["mfu"] = rate / peak
    return found


def counted(side: int, size: str) -> float:
    """Return the FLOPs of a step, forward and backward, counted without memory."""
    with torch.device("meta"):
        segmenter = network(size)
        image = torch.empty(2, len(MODALITIES), side, side, side)
        available = torch.ones(2, len(MODALITIES), dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        torch.stack([x.float().sum() for x in segmenter(image, available)]).sum().backward()
    return float(counter.get_total_flops())
