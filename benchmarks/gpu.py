"""Check and measure on a GPU: equality with the processor, waits, speed and memory.

`python benchmarks/gpu.py` writes `results/gpu.json`, with the device's name, after every part; a
part that fails is written with its error, and the others go on. Parts that would begin after
`--minutes` are left out by name. Without a GPU it says so and ends with 2. No result of it is in
the repository yet: nobody has run it. `--smoke` tries the script itself on a processor, with small
numbers, and writes nothing into the repository.

Parts: `equality` (every strategy, loss and pretext task against the processor, float32 without
TF32), `waits` (a step of each with torch's own alarm for synchronising calls), `steps` (training
step of the default network at 96^3 and 128^3: plain, channels last, compiled, with CUDA graphs, in
float32 and bfloat16, and nnU-Net's own step; model FLOPs per second, peak memory), `augmentation`
(patches per second), `run` (a real run against its bare loop, by phase, loader included),
`prediction` (a case by windows).
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from gpu_runs import prediction, real_run
from gpu_steps import MODALITIES, SMOKE, Scale, steps
from torch import Tensor, nn

from hilum.contracts import fusion as fusion_contract
from hilum.contracts import losses as loss_contract
from hilum.contracts import pretext as pretext_contract
from hilum.core.seeds import torch_generator
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.fusion import STRATEGIES
from hilum.losses import LOSSES
from hilum.pretrain import TASKS

RESULT = Path(__file__).parent / "results" / "gpu.json"
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


def each(few: bool) -> Iterator[tuple[str, str, Callable[[str, str], Step]]]:
    """Give every component, or one of a kind: its kind, name, and what computes a step of it."""
    for kind, (table, step) in PARTS.items():
        for name in list(table.ours)[: 1 if few else None]:
            yield kind, name, step


def equality(scale: Scale) -> dict[str, Any]:
    """Return the largest relative difference from the processor, of each component."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found: dict[str, Any] = {}
    for kind, name, make in each(scale is SMOKE):
        pairs = list(zip(make(name, scale.device)(), make(name, "cpu")(), strict=True))
        if kind == "task":
            found[f"{kind} {name}"] = {"gpu": float(pairs[0][0]), "cpu": float(pairs[0][1])}
            continue
        apart = [float((a.cpu() - b).norm() / b.norm().clamp(min=1e-12)) for a, b in pairs]
        found[f"{kind} {name}"] = max(apart)
    return found


def waits(scale: Scale) -> dict[str, Any]:
    """Return, of each component whose step makes the host wait, what torch says of it."""
    found: dict[str, Any] = {}
    for kind, name, make in each(scale is SMOKE):
        step = make(name, scale.device)
        step()  # kernels are loaded, memory is taken
        try:
            with alarm() if scale.device == "cuda" else nullcontext():
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


def augmentation(scale: Scale) -> dict[str, Any]:
    """Return patches per second that augmentation changes on the GPU."""
    side, steps = scale.sides[0], scale.steps
    change = PairedAugmentation(MODALITIES, (side, side, side), (3.0, 2.0, 2.0))
    sides = change.read_shape()
    batch: Any = {
        "image": torch.randn(2, 2, *sides, device=scale.device).half(),
        "available": torch.ones(2, 2, dtype=torch.bool, device=scale.device),
        "regions": torch.full((2, 1, *sides), 7, dtype=torch.uint8, device=scale.device),
        "case": ["a", "b"],
        "seed": torch.tensor([0, 1], device=scale.device),
    }
    began = 0.0
    for number in range(scale.warm + steps):
        if number == scale.warm:
            wait(scale)
            began = time.perf_counter()
        batch["host"] = [(2 * number + row, [True, True]) for row in range(2)]
        change(batch)
    wait(scale)
    return {"patches_per_s": 2 * steps / (time.perf_counter() - began)}


def wait(scale: Scale) -> None:
    """Let the device finish."""
    if scale.device == "cuda":
        torch.cuda.synchronize()


def measure(
    chosen: Sequence[str], scale: Scale, minutes: float, file: Path | None
) -> dict[str, Any]:
    """Return what every part gives, or why it gave nothing; write it after each."""
    parts: dict[str, Callable[[], Any]] = {
        "equality": lambda: equality(scale),
        "waits": lambda: waits(scale),
        "steps": lambda: steps(scale),
        "augmentation": lambda: augmentation(scale),
        "run": lambda: real_run(scale is SMOKE),
        "prediction": lambda: prediction(scale is SMOKE, scale.device),
    }
    on_gpu = scale.device == "cuda"
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_gpu else "processor, a trial of the script",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }
    start = time.perf_counter()
    for name in chosen or parts:
        began = time.perf_counter()
        if began - start > 60 * minutes:
            result[name] = f"left out: {minutes:g} minutes were over"
            continue
        try:
            result[name] = parts[name]()
        except Exception as error:
            result[name] = f"{type(error).__name__}: {error}"
        print(f"{name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        if file is not None:
            file.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    return result


def main() -> int:
    """Run the parts that are asked for, all by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help="all by default")
    parser.add_argument("--smoke", action="store_true", help="try the script on a processor")
    parser.add_argument("--minutes", type=float, default=22, help="no part begins after them")
    given = parser.parse_args()
    if not given.smoke and not torch.cuda.is_available():
        print("benchmarks/gpu.py needs a GPU that torch can use; nothing was measured")
        return 2
    scale = SMOKE if given.smoke else Scale()
    result = measure(given.parts, scale, given.minutes, None if given.smoke else RESULT)
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
