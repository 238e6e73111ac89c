"""MedicalNet's 3D ResNets, and MONAI's of the same names."""

from __future__ import annotations

import re
from pathlib import Path

from hilum.core.errors import CheckpointError

from .reading import ForeignFile
from .source import Recipe, Request, WeightSource, prefix_before, renamed, written

BLOCKS = {
    (False, (1, 1, 1, 1)): 10,
    (False, (2, 2, 2, 2)): 18,
    (False, (3, 4, 6, 3)): 34,
    (True, (3, 4, 6, 3)): 50,
    (True, (3, 4, 23, 3)): 101,
    (True, (3, 8, 36, 3)): 152,
    (True, (3, 24, 36, 3)): 200,
}
"""Layers by whether blocks are bottlenecks, and by blocks of each stage."""


class MedicalnetSource(WeightSource):
    """`conv1`, `bn1` and `layer1` to `layer4` in 3D; segmentation or class heads are left."""

    title = "MedicalNet (Med3D), MONAI 3D ResNets"
    home = "https://huggingface.co/TencentMedicalNet"
    licence = "MIT"
    obtain = "resnet_10_23dataset.pth, ..., resnet_200.pth of the model pages"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know a 3D first convolution of 7 voxels before a stage of blocks."""
        prefix = prefix_before(foreign.tensors, "layer1.0.conv1.weight")
        first = foreign.tensors.get(f"{prefix}conv1.weight") if prefix is not None else None
        if first is not None and first.ndim == 5 and tuple(first.shape[2:]) == (7, 7, 7):
            return "names are a ResNet's, kernels are 3D"
        return ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Count blocks to know the depth."""
        prefix = prefix_before(foreign.tensors, "layer1.0.conv1.weight") or ""
        here = re.escape(prefix)
        weights, unused = renamed(
            foreign.tensors, [(here + r"((?:conv1|bn1|layer[1-4])\..*)", r"inner.\1")]
        )
        counts = [
            len({m[1] for name in weights if (m := re.match(rf"inner\.layer{s}\.(\d+)\.", name))})
            for s in (1, 2, 3, 4)
        ]
        deep = any(name.endswith(".conv3.weight") for name in weights)
        layers = BLOCKS.get((deep, (counts[0], counts[1], counts[2], counts[3])))
        if layers is None:
            raise CheckpointError(
                "the ResNet must have 10, 18, 34, 50, 101, 152 or 200 layers",
                file=foreign.path,
                found=f"stages of {counts} {'bottlenecks' if deep else 'blocks'}",
                remedy="give one of MedicalNet's own files",
            )
        recipe = Recipe({"name": "resnet3d", "layers": layers}, weights, unused, fresh=("fine.",))
        recipe.pretext, recipe.patch = "supervised segmentation (MedicalNet)", (64, 64, 64)
        recipe.zscored = (True,)
        recipe.notes += [
            "no tensor tells the stride of the first convolution: 2 is taken, as in MedicalNet; "
            "a network of MONAI's with conv1_t_stride=1, its default, computes something else",
            "MedicalNet dilates its last two stages, this encoder strides, as MONAI's does",
            "MedicalNet scales each image by mean and deviation of what is above 0, hilum by those "
            "of the field of view",
        ]
        return recipe

    def example(self, folder: Path) -> Path:
        """Write the smallest network, as data-parallel training saves it."""
        spec = {"name": "resnet3d", "layers": 10}
        return written(folder / "resnet_10.pth", spec, "module.", "state_dict")
