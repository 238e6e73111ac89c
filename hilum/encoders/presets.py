"""What each family and size is, for listings that must answer at once; a test compares it all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

Strides = tuple[tuple[int, int, int], ...]


class Preset(NamedTuple):
    """One size of a family.

    Attributes:
        parameters: Numbers to learn with two input channels, each counted once.
        strides: Voxels of the image per voxel of each map.
    """

    parameters: int
    strides: Strides

    @property
    def rule(self) -> str:
        """What a patch must keep."""
        last = self.strides[-1]
        by = str(last[0]) if len(set(last)) == 1 else " x ".join(map(str, last))
        return f"sides divisible by {by}"

    @property
    def steps(self) -> str:
        """The strides, short: one number where the axes are alike."""
        return " ".join(
            str(s[0]) if len(set(s)) == 1 else "x".join(map(str, s)) for s in self.strides
        )


class Family(NamedTuple):
    """One entry of the table of encoders.

    Attributes:
        purpose: First line of the class's docstring.
        sizes: Presets by name, as of the arguments' defaults.
        note: What else the input must or may be.
    """

    purpose: str
    sizes: Mapping[str, Preset]
    note: str


def _cubes(*strides: int) -> Strides:
    return tuple((s, s, s) for s in strides)


_TUBES: Strides = ((1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8))
_ANY = "any number of tokens; positions are interpolated trilinearly from the trained one"

FAMILIES: dict[str, Family] = {
    "resenc": Family(
        "Residual blocks with instance norm, one stage per stride.",
        {
            "tiny": Preset(898_288, _cubes(1, 2, 4, 8)),
            "small": Preset(4_633_800, _cubes(1, 2, 4, 8)),
            "base": Preset(90_297_440, _cubes(1, 2, 4, 8, 16, 32)),
        },
        "strides per axis by `strides`",
    ),
    "plainconv": Family(
        "Convolutions with instance norm, two a stage, the first of which strides.",
        {
            "tiny": Preset(880_128, _cubes(1, 2, 4, 8)),
            "small": Preset(3_515_904, _cubes(1, 2, 4, 8)),
            "base": Preset(14_025_984, _cubes(1, 2, 4, 8, 16, 32)),
        },
        "strides per axis by `strides`",
    ),
    "segresnet": Family(
        "Pre-activation residual blocks, a stride of 2 between levels.",
        {
            "tiny": Preset(367_248, _cubes(1, 2, 4, 8)),
            "small": Preset(4_399_776, _cubes(1, 2, 4, 8)),
            "base": Preset(77_761_856, _cubes(1, 2, 4, 8, 16)),
        },
        "",
    ),
    "mednext": Family(
        "Depth-wise convolutions, expansion and compression; a stride of 2 between stages.",
        {
            "tiny": Preset(142_048, _cubes(1, 2, 4, 8)),
            "small": Preset(3_572_640, _cubes(1, 2, 4, 8, 16)),
            "base": Preset(6_849_888, _cubes(1, 2, 4, 8, 16)),
            "medium": Preset(12_476_288, _cubes(1, 2, 4, 8, 16)),
            "large": Preset(46_699_840, _cubes(1, 2, 4, 8, 16)),
        },
        "strides per axis by `strides`",
    ),
    "resnet3d": Family(
        "Residual convolutions with batch norm at strides 2 to 32, and a level at full resolution.",
        {
            "tiny": Preset(14_378_384, _cubes(1, 2, 4, 8, 16, 32)),
            "small": Preset(33_009_040, _cubes(1, 2, 4, 8, 16, 32)),
            "base": Preset(46_177_936, _cubes(1, 2, 4, 8, 16, 32)),
        },
        "",
    ),
    "unet3d": Family(
        "Two convolutions a level with instance norm, and a maximum over 2 voxels between levels.",
        {
            "tiny": Preset(110_484, _cubes(1, 2, 4, 8)),
            "small": Preset(1_758_672, _cubes(1, 2, 4, 8)),
            "base": Preset(7_028_640, _cubes(1, 2, 4, 8)),
        },
        "",
    ),
    "timm_cnn": Family(
        "Features of a timm network, inflated: strides 2, 4, 8, 16, 32, or from 4 in ConvNeXt.",
        {
            "tiny": Preset(14_411_008, _cubes(2, 4, 8, 16, 32)),
            "small": Preset(33_181_952, _cubes(2, 4, 8, 16, 32)),
            "base": Preset(46_177_024, _cubes(2, 4, 8, 16, 32)),
        },
        "sizes are networks of timm; others by `model`",
    ),
    "primus": Family(
        "EVA-02 blocks with rotary and learned positions on cubes of 8 voxels.",
        {
            "tiny": Preset(1_967_288, _cubes(1, 2, 4, 8)),
            "small": Preset(24_093_812, _cubes(1, 2, 4, 8)),
            "base": Preset(93_975_272, _cubes(1, 2, 4, 8)),
            "medium": Preset(147_383_360, _cubes(1, 2, 4, 8)),
            "large": Preset(326_300_288, _cubes(1, 2, 4, 8)),
        },
        _ANY,
    ),
    "vit": Family(
        "Pre-norm transformer blocks with learned positions on cubes of 8 voxels.",
        {
            "tiny": Preset(3_274_568, _cubes(1, 2, 4, 8)),
            "small": Preset(22_655_888, _cubes(1, 2, 4, 8)),
            "base": Preset(88_385_312, _cubes(1, 2, 4, 8)),
        },
        _ANY,
    ),
    "videomae": Family(
        "A transformer on tubelets: a few slices deep, more voxels wide; fixed sinusoid positions.",
        {
            "tiny": Preset(2_843_336, _TUBES),
            "small": Preset(21_791_120, _TUBES),
            "base": Preset(86_655_776, _TUBES),
        },
        _ANY,
    ),
    "swin": Family(
        "Attention inside shifted windows, tokens of 2 voxels, merged by 2 after every stage.",
        {
            "tiny": Preset(187_120, _cubes(1, 2, 4, 8, 16)),
            "small": Preset(2_172_570, _cubes(1, 2, 4, 8, 16, 32)),
            "base": Preset(8_063_298, _cubes(1, 2, 4, 8, 16, 32)),
        },
        "windows shrink to small maps, and pad others",
    ),
    "slices": Family(
        "A 2D network sees each slice, and a 3D pyramid is made of its maps.",
        {
            "tiny": Preset(516_504, _cubes(1, 4, 8, 16)),
            "small": Preset(21_593_328, _cubes(1, 4, 8, 16)),
            "base": Preset(85_727_712, _cubes(1, 4, 8, 16)),
        },
        "any plane (Hiera: resized to `side`); other networks by `model`",
    ),
    "vit_slices": Family(
        "A DINOv2 sees each slice, and a 3D pyramid is made of its tokens.",
        {
            "tiny": Preset(531_120, _cubes(1, 4, 8, 16)),
            "small": Preset(21_728_720, _cubes(1, 4, 8, 16)),
            "base": Preset(86_268_832, _cubes(1, 4, 8, 16)),
        },
        "any plane; positions are interpolated",
    ),
}
"""Every family with its sizes; parameters as built with two input channels."""
