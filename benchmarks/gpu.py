"""Check and measure on a GPU: equality with the processor, waits, speed and memory of a step.

`python benchmarks/gpu.py` writes `results/gpu.json`, with the device's name, after every part; a
part that fails is written with its error, and the others go on. Without a GPU it says so and ends
with 2. No result of it is in the repository yet: nobody has run it.

Parts: `equality` (every strategy, loss and pretext task against the processor, float32 without
TF32), `waits` (a step of each with torch's own alarm for synchronising calls), `steps` (training
step of the default network at 96^3 and 128^3: plain, channels last, compiled, with CUDA graphs, in
float32 and bfloat16; model FLOPs per second, peak memory), `augmentation` (patches per second).
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hilum.contracts import fusion as fusion_contract
from hilum.contracts import losses as loss_contract
from hilum.contracts import pretext as pretext_contract
from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.fusion import STRATEGIES
from hilum.losses import LOSSES
from hilum.losses.dice_ce import DiceCeLoss
from hilum.pretrain import TASKS
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

RESULT = Path(__file__).parent / "results" / "gpu.json"
MODALITIES = ("ct", "pet")
STEPS, WARM = 20, 5

Step = Callable[[], list[Tensor]]


def to(value: Any, device: str) -> Any:
    """Return tensors, modules and generators, also in containers, on a device."""
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if isinstance(value, Tensor):
        return value.detach().to(device).requires_grad_(value.requires_grad)
    if isinstance(value, torch.Generator):
        return torch_generator(0, "gpu", device=device)
    if isinstance(value, dict):
        return {key: to(one, device) for key, one in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(to(one, device) for one in value))
    return [to(one, device) for one in value] if isinstance(value, list) else value


def strategy_step(name: str, device: str) -> Step:
    """Return what computes the logits of a small strategy, in evaluation mode and float64."""
    strategy = to(fusion_contract.make(name), device)
    available = torch.tensor(fusion_contract.SUBSETS, device=device)
    volumes = to(fusion_contract.volumes(), device)
    return lambda: strategy(volumes, available)


def loss_step(name: str, device: str) -> Step:
    """Return what computes a loss and the gradient of its finest logits."""
    loss, label = loss_contract.made(name), loss_contract.patches()
    maps, levels = to(loss.maps(label, 3), device), to(loss_contract.logits(), device)
    label = to(label, device)

    def step() -> list[Tensor]:
        levels[0].grad = None
        value = loss(levels, label, maps)[0]
        value.backward()
        return [value, levels[0].grad]

    return step


def task_step(name: str, device: str) -> Step:
    """Return what computes the loss of a task; a GPU draws other masks, so another value."""
    made = pretext_contract.make(name)
    batch, task = to(pretext_contract.batch_of(made), device), to(made, device)

    def step() -> list[Tensor]:
        value = task.loss(batch)[0]
        value.backward()
        task.after_step(1, 2)
        return [value]

    return step


PARTS: dict[str, tuple[Any, Callable[[str, str], Step]]] = {
    "strategy": (STRATEGIES, strategy_step),
    "loss": (LOSSES, loss_step),
    "task": (TASKS, task_step),
}


def each() -> Iterator[tuple[str, str, Callable[[str, str], Step]]]:
    """Give every component: its kind, its name, and what computes a step of it."""
    for kind, (table, step) in PARTS.items():
        for name in table.ours:
            yield kind, name, step


def equality() -> dict[str, Any]:
    """Return the largest relative difference from the processor, of each component."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found: dict[str, Any] = {}
    for kind, name, make in each():
        pairs = list(zip(make(name, "cuda")(), make(name, "cpu")(), strict=True))
        if kind == "task":
            found[f"{kind} {name}"] = {"gpu": float(pairs[0][0]), "cpu": float(pairs[0][1])}
            continue
        apart = [float((a.cpu() - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs]
        found[f"{kind} {name}"] = max(apart)
    return found


def waits() -> dict[str, Any]:
    """Return, of each component whose step makes the host wait, what torch says of it."""
    found: dict[str, Any] = {}
    for kind, name, make in each():
        step = make(name, "cuda")
        step()  # kernels are loaded, memory is taken
        try:
            with alarm():
                step()
        except RuntimeError as error:
            found[f"{kind} {name}"] = str(error).splitlines()[0]
    return found


@contextmanager
def alarm() -> Iterator[None]:
    """Make a call that waits for the GPU an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def network() -> Segmenter:
    """Return the default network of a CT/PET run."""
    values = {
        "modalities": MODALITIES,
        "encoder": {"name": "resenc", "size": "small"},
        "fusion": {"name": "early"},
        "patch": (128, 128, 128),
        "spacing": (3, 2, 2),
    }
    return Segmenter(validate(SegmenterConfig, values))


def steps() -> dict[str, Any]:
    """Return seconds, model FLOPs per second and peak memory of training steps."""
    found: dict[str, Any] = {}
    for side in (96, 128):
        for precision in ("float32", "bfloat16"):
            for way in ("plain", "channels_last", "compiled", "graphs"):
                try:
                    found[f"{side} {precision} {way}"] = step_of(side, precision, way)
                except (RuntimeError, torch.OutOfMemoryError) as error:
                    found[f"{side} {precision} {way}"] = str(error)[:300]
                torch._dynamo.reset()
                torch.cuda.empty_cache()
    return found


def step_of(side: int, precision: str, way: str) -> dict[str, float]:
    """Measure a training step of batches of two: forward, loss, backward, clipping, AdamW."""
    torch.manual_seed(0)
    segmenter, loss = network().cuda(), DiceCeLoss()
    if way != "plain":
        segmenter.to(memory_format=torch.channels_last_3d)
    if way in ("compiled", "graphs"):
        mode = {"mode": "reduce-overhead"} if way == "graphs" else {}
        segmenter.strategy.compile(dynamic=False, **mode)
    optimiser = torch.optim.AdamW(segmenter.parameters(), 1e-4, fused=True)
    image = torch.randn(2, len(MODALITIES), side, side, side, device="cuda")
    label = (torch.rand(2, 1, side, side, side, device="cuda") < 0.01).byte()
    available = torch.ones(2, len(MODALITIES), dtype=torch.bool, device="cuda")

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = segmenter(image, available)
        loss(logits, label)[0].backward()
        torch.nn.utils.clip_grad_norm_(segmenter.parameters(), 12.0)
        optimiser.step()
        optimiser.zero_grad()

    flops = counted(side)
    for _ in range(WARM):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - began) / STEPS
    peak = torch.cuda.max_memory_allocated() / 1024**3
    return {"seconds": seconds, "tflop_per_s": flops / seconds / 1e12, "peak_gib": peak}


def counted(side: int) -> float:
    """Return the FLOPs of a step, forward and backward, counted without memory."""
    with torch.device("meta"):
        segmenter = network()
        image = torch.empty(2, len(MODALITIES), side, side, side)
        available = torch.ones(2, len(MODALITIES), dtype=torch.bool)
    with FlopCounterMode(display=False) as counter:
        torch.stack([x.float().sum() for x in segmenter(image, available)]).sum().backward()
    return float(counter.get_total_flops())


def augmentation() -> dict[str, Any]:
    """Return patches of 96^3 per second that augmentation changes on the GPU."""
    change = PairedAugmentation(MODALITIES, (96, 96, 96), (3.0, 2.0, 2.0))
    sides = change.read_shape()
    batch: Any = {
        "image": torch.randn(2, 2, *sides, device="cuda").half(),
        "available": torch.ones(2, 2, dtype=torch.bool, device="cuda"),
        "regions": torch.full((2, 1, *sides), 7, dtype=torch.uint8, device="cuda"),
        "case": ["a", "b"],
        "seed": torch.tensor([0, 1], device="cuda"),
    }
    began = 0.0
    for number in range(WARM + STEPS):
        if number == WARM:
            torch.cuda.synchronize()
            began = time.perf_counter()
        batch["host"] = [(2 * number + row, [True, True]) for row in range(2)]
        change(batch)
    torch.cuda.synchronize()
    return {"patches_per_s": 2 * STEPS / (time.perf_counter() - began)}


def main() -> int:
    """Run the parts that are asked for, all by default."""
    parts = {"equality": equality, "waits": waits, "steps": steps, "augmentation": augmentation}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help="all by default")
    chosen = parser.parse_args().parts or list(parts)
    if not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a GPU that torch can use; nothing was measured")
        return 2
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    for name in chosen:
        began = time.perf_counter()
        try:
            result[name] = parts[name]()
        except Exception as error:
            result[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        RESULT.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
