"""Draw nodes and decoys pasted into patches of phantoms: before, after, and what is the target.

    python benchmarks/pasted_nodes.py --out docs/pictures/synthetic_nodes.png

Each row is a patch of another patient of edition 2, cut through its largest pasted node. Columns:
CT before, after, and after with outlines (red: pasted node, yellow: unknown), and the same of PET.
Nodes of the phantom are in the patches, too: without outlines they should look alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from hilum.core.modality import modality
from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.phantoms.case import PhantomCase
from hilum.datasets.phantoms.cohort import PhantomSettings, make_case
from hilum.pretrain.base import PretextBatch
from hilum.pretrain.parts.node_pasting import Pasted, paste
from hilum.pretrain.parts.node_recipe import Recipe

NAMES = ("ct", "pet")
SPACING = (2.0, 2.0, 2.0)
SIDES = (72, 72, 72)
TILE, GAP = 190, 4
ROWS = (("a", "portal"), ("c", "plain"), ("d", "portal"), ("a", "arterial"))


def main() -> None:
    """Paste and draw."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    recipe = validate(Recipe, {"short_mm": (6, 24)})
    rows = []
    for number, (scanner, phase) in enumerate(ROWS):
        settings = {"edition": 2, "scanner": scanner, "phase": phase, "seed": asked.seed}
        box = {"region": "chest", "shape": (108, 100, 150), "ct_spacing": SPACING}
        case = make_case(validate(PhantomSettings, settings | box), number)
        given = batch_of(case, asked.seed + number)
        rows.append(row_of(given, paste(given, NAMES, SPACING, recipe)))
    sheet = np.concatenate(rows, 0)
    Image.fromarray(sheet).quantize(256).save(asked.out, optimize=True)
    print(f"wrote {asked.out}")


def batch_of(case: PhantomCase, seed: int) -> PretextBatch:
    """Return the patch around a node of a case, as a network sees it."""
    centre = np.array(case.nodes[seed % len(case.nodes)]["centre_mm"])
    shape, sides = np.array(case.ct.shape), np.array(SIDES)
    low = np.clip(np.round(case.grid.to_index(centre)).astype(int) - sides // 2, 0, shape - sides)
    box = tuple(slice(a, a + n) for a, n in zip(low, SIDES, strict=True))
    index = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), -1)
    places = case.pet_grid.to_index(case.grid.to_world(index)).reshape(-1, 3)
    pet = ndimage.map_coordinates(case.pet, places.T, order=1, mode="nearest").reshape(SIDES)
    values = {"ct": case.ct[box], "pet": pet}
    image = [modality(n).encode(torch.from_numpy(np.float32(values[n]))) for n in NAMES]
    body = ndimage.binary_fill_holes(ndimage.binary_opening(case.ct > -300, iterations=2))
    inside = torch.from_numpy(np.asarray(body)[box].copy())[None, None]
    have = torch.ones((1, 2), dtype=torch.bool)
    return PretextBatch(torch.stack(image)[None], have, inside, torch_generator(seed, "picture"))


def row_of(given: PretextBatch, pasted: Pasted) -> np.ndarray:
    """Return one row of pixels `[H, W, 3]`."""
    target = (pasted.label[0, 0] == 1).numpy()
    depth = int(target.sum((1, 2)).argmax())
    label = pasted.label[0, 0, depth].numpy()
    now, before = pasted.image[0], given.image[0]
    tiles = [
        tile(before[0, depth], "ct"),
        tile(now[0, depth], "ct"),
        tile(now[0, depth], "ct", label),
        tile(before[1, depth], "pet"),
        tile(now[1, depth], "pet"),
        tile(now[1, depth], "pet", label),
    ]
    gap = np.zeros((TILE, GAP, 3), np.uint8)
    line = np.concatenate([part for one in tiles for part in (one, gap)], 1)
    return np.concatenate([line, np.zeros((GAP, line.shape[1], 3), np.uint8)], 0)


def tile(values: Tensor, name: str, label: np.ndarray | None = None) -> np.ndarray:
    """Return one slice, front up, enlarged, with outlines if a label is given."""
    rule = modality(name)
    low, high = rule.show
    level = ((rule.decode(values) - low) / (high - low)).clamp(0, 1).numpy()
    level = 1 - level if name == "pet" else level
    grey = Image.fromarray((level[::-1, ::-1] * 255).astype(np.uint8))
    pixels = np.stack([np.asarray(grey.resize((TILE, TILE), Image.Resampling.BICUBIC))] * 3, -1)
    if label is not None:
        for value, colour in ((IGNORE, (230, 190, 0)), (1, (255, 60, 50))):
            mask = Image.fromarray(((label == value)[::-1, ::-1] * 255).astype(np.uint8))
            large = np.asarray(mask.resize((TILE, TILE), Image.Resampling.BILINEAR)) > 127
            pixels[large & ~np.asarray(ndimage.binary_erosion(large))] = colour
    return pixels


if __name__ == "__main__":
    main()
