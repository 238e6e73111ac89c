"""Measure whole-volume prediction against nnU-Net's predictor and MONAI's sliding window.

`python benchmarks/prediction.py` writes `results/prediction.json` in under three minutes. All run
the same network over the same windows (equal overlap, weights and mirror images). Times are CPU
seconds of one thread, in turn in one process. Peak memory is what the system says of a process of
its own, from before the input exists to the mask; a network of one layer leaves it to the tools.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from scipy import ndimage
from timing import compare, write
from torch import Tensor, nn

from hilum.core.geometry import Grid, IntTriple
from hilum.core.modality import modality
from hilum.core.precision import autocast_dtype
from hilum.core.seeds import numpy_generator, torch_generator
from hilum.core.settings import validate
from hilum.datasets.store.case_store import PreparedCase
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.inference.predict_case import FLIPS, predict_mask
from hilum.segmenter.segmenter import Segmenter

torch.set_num_threads(1)
WINDOW = (64, 64, 64)
NAMES = ("ct", "pet")
LONG = (512, 192, 192)
"""Of the row on memory."""


class OneLayer(nn.Module):
    """The lightest network that there is; works as a fusion strategy and as a network."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 1)
        self.encoders = nn.ModuleDict()

    def forward(self, volumes: dict[str, Tensor], available: Tensor) -> list[Tensor]:
        """Return logits of two classes."""
        return [self.conv(torch.cat([volumes["ct"], volumes["pet"]], 1))]


class Plain(nn.Module):
    """A segmenter as peers call a network: an image in, logits out."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> Tensor:
        """Return logits."""
        have = torch.ones((len(image), 2), dtype=torch.bool)
        return self.segmenter(image, have)[0]


def made_case(sides: IntTriple) -> PreparedCase:
    """Return soft tissue with hot nodes, as float16 in HU and SUV."""
    draw = numpy_generator(0, "bench prediction")
    images = np.empty((2, *sides), np.float16)
    images[0] = draw.normal(40, 40, sides[1:])
    images[1] = draw.gamma(2, 0.5, sides[1:])
    spots = np.zeros(sides, bool)
    for place in draw.uniform(0, 1, (40, 3)) * (np.array(sides) - 1):
        spots[tuple(place.astype(int))] = True
    images[1] += 6 * np.asarray(ndimage.binary_dilation(spots, iterations=4)).astype(np.float16)
    grid = Grid.from_spacing(sides, (3.0, 2.0, 2.0))
    body = np.ones(sides, np.uint8)
    return PreparedCase("case", "patient", "", "", images, NAMES, body, None, grid, grid, {}, {})


def encoded(case: PreparedCase) -> Tensor:
    """Return what peers start from: float32 on the network's scale."""
    rows = [modality(n).encode(case.images[i].astype(np.float32)) for i, n in enumerate(NAMES)]
    return torch.from_numpy(np.stack(rows))


def made_segmenter(trained: bool = True) -> Segmenter:
    """Return a tiny residual network, taught in some steps that what is hot is a node."""
    config = {
        "modalities": NAMES,
        "encoder": {"name": "resenc", "size": "tiny"},
        "fusion": {"name": "early"},
        "patch": WINDOW,
        "spacing": (3.0, 2.0, 2.0),
    }
    torch.manual_seed(0)
    segmenter = Segmenter(validate(SegmenterConfig, config))
    if not trained:
        segmenter.strategy = OneLayer()  # pyright: ignore[reportAttributeAccessIssue]
        return segmenter.eval()
    case = made_case((64, 64, 64))
    image, hot = encoded(case), torch.from_numpy(case.images[1] > 5).long()
    optimiser = torch.optim.Adam(segmenter.parameters(), 3e-3)
    generator = torch_generator(0, "bench prediction")
    have = torch.ones((1, 2), dtype=torch.bool)
    for _ in range(40):
        d, h, w = (int(x) for x in torch.randint(0, 33, (3,), generator=generator))
        box = (slice(d, d + 32), slice(h, h + 32), slice(w, w + 32))
        logits = segmenter(image[:, *box][None], have)[0]
        loss = nn.functional.cross_entropy(logits, hot[box][None])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return segmenter.eval()


def hilum_mask(segmenter: Segmenter, case: PreparedCase, flips: str, precision: str) -> np.ndarray:
    """Return our mask, from physical values on."""
    settings = segmenter.config.inference.changed(flips=flips, overlap=0.5)
    return predict_mask(segmenter, case, settings, precision=precision)  # pyright: ignore[reportArgumentType]


def nnunet_mask(segmenter: Segmenter, image: Tensor, flips: str) -> np.ndarray:
    """Return the mask of nnU-Net's predictor with its own defaults for a processor."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=flips != "none",
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    about = cast(object, predictor)
    vars(about).update(
        network=Plain(segmenter),
        configuration_manager=SimpleNamespace(patch_size=list(WINDOW)),
        label_manager=SimpleNamespace(num_segmentation_heads=segmenter.classes),
        allowed_mirroring_axes=(0, 1, 2),
    )
    logits = predictor.predict_sliding_window_return_logits(image)
    return torch.as_tensor(logits).argmax(0).to(torch.uint8).numpy()


def monai_mask(segmenter: Segmenter, image: Tensor, flips: str) -> np.ndarray:
    """Return the mask of MONAI's sliding window, its probabilities averaged as ours are."""
    network = Plain(segmenter)

    def windows(batch: Tensor) -> Tensor:
        found = [network(batch.flip(a)).softmax(1).flip(a) for a in FLIPS[flips]]
        return torch.stack(found).mean(0)

    with torch.inference_mode():
        result = sliding_window_inference(
            image[None], WINDOW, 1, windows, overlap=0.5, mode="gaussian"
        )
    return cast(Tensor, result)[0].argmax(0).to(torch.uint8).numpy()


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return Dice of two masks."""
    a, b = one > 0, other > 0
    return round(float(2 * (a & b).sum() / max(a.sum() + b.sum(), 1)), 5)


def times(
    segmenter: Segmenter, sides: IntTriple, flips: str, what: str, rounds: int
) -> dict[str, object]:
    """Compare CPU time and masks; ours in bfloat16 where the processor has it, and in float32."""
    case = made_case(sides)
    image = encoded(case)
    masks: dict[str, np.ndarray] = {}
    auto = "hilum" if autocast_dtype("cpu") is None else "hilum, bfloat16"
    ways: dict[str, Callable[[], np.ndarray]] = {
        auto: lambda: hilum_mask(segmenter, case, flips, "auto"),
        "hilum, float32": lambda: hilum_mask(segmenter, case, flips, "32"),
        "nnU-Net": lambda: nnunet_mask(segmenter, image, flips),
        "MONAI": lambda: monai_mask(segmenter, image, flips),
    }

    def kept(name: str) -> Callable[[int], None]:
        return lambda number: masks.update({name: ways[name]()})

    row = compare(what, {name: kept(name) for name in ways}, rounds=rounds)
    count = int((masks[auto] > 0).sum())
    if count:
        others = {name: mask for name, mask in masks.items() if name != auto}
        row["dice_with_ours"] = {name: dice(masks[auto], mask) for name, mask in others.items()}
        row["dice_of_ours_in_float32"] = {
            name: dice(masks["hilum, float32"], masks[name]) for name in ("nnU-Net", "MONAI")
        }
        row["foreground_voxels"] = count
    return row


def memory() -> dict[str, object]:
    """Compare peak memory on a long scan, each tool in a process of its own."""
    peaks = {}
    for name in ("hilum", "nnU-Net", "MONAI"):
        ran = subprocess.run(
            [sys.executable, __file__, "--peak", name], capture_output=True, text=True, check=True
        )
        peaks[name] = json.loads(ran.stdout.splitlines()[-1])
    ratios = {name: round(peaks["hilum"] / peak, 3) for name, peak in peaks.items()}
    text = " x ".join(map(str, LONG))
    print(f"peak memory, {text}: {peaks} MiB, ours as a share {ratios}", file=sys.stderr)
    return {
        "what": f"peak memory, two channels of {text}, a network of one layer",
        "mib": peaks,
        "ours_as_share_of": {name: ratios[name] for name in ("nnU-Net", "MONAI")},
    }


def peak(name: str) -> None:
    """Print the MiB that a prediction adds at most to this process, its input included."""
    segmenter = made_segmenter(trained=False)
    predict(name, segmenter, made_case(WINDOW))  # loads libraries
    Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    case = made_case(LONG)
    if name != "hilum":
        image = encoded(case)
        del case
        Path("/proc/self/clear_refs").write_text("5")
        (nnunet_mask if name == "nnU-Net" else monai_mask)(segmenter, image, "none")
    else:
        Path("/proc/self/clear_refs").write_text("5")
        hilum_mask(segmenter, case, "none", "32")
    print(round((_status("VmHWM") - before) / 1024))


def predict(name: str, segmenter: Segmenter, case: PreparedCase) -> np.ndarray:
    """Return one tool's mask."""
    if name == "hilum":
        return hilum_mask(segmenter, case, "none", "32")
    tool = nnunet_mask if name == "nnU-Net" else monai_mask
    return tool(segmenter, encoded(case), "none")


def _status(field: str) -> int:
    """Return a number of this process in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def main() -> None:
    """Run every comparison and write one file."""
    segmenter = made_segmenter()
    light = made_segmenter(trained=False)
    rows = [
        times(segmenter, (96, 96, 128), "none", "96 x 96 x 128, 12 windows, tiny resenc", 2),
        times(segmenter, (64, 64, 64), "all", "one window in 8 mirror images, tiny resenc", 1),
        times(light, (128, 160, 160), "none", "overhead alone: a network of one layer", 3),
    ]
    if Path("/proc/self/clear_refs").exists():
        rows.append(memory())
    print(write("prediction", "python benchmarks/prediction.py", rows))


if __name__ == "__main__":
    if "--peak" in sys.argv:
        peak(sys.argv[-1])
    else:
        main()
