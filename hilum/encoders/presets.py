"""What each family and size is, for listings that must answer at once: read, not imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hilum.core.sources import Facts

from . import ENCODERS

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


def families() -> dict[str, Family]:
    """Return every family with its sizes, from what the source of each class says."""
    return {name: _family(ENCODERS.facts(name)) for name in ENCODERS}


def _family(facts: Facts) -> Family:
    sizes = {
        size: Preset(parameters, tuple((s, s, s) if isinstance(s, int) else s for s in strides))
        for size, (parameters, strides) in facts.values.get("sizes", {}).items()
    }
    return Family(facts.summary, sizes, facts.values.get("note", ""))
