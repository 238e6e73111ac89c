"""What encoders and fusion strategies cost, as lines of a table; each is built for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple

PATCHES = (96, 128)
HEAD = ("strategy", "parameters", "Gflop", "memory", "forward", "step")


def encoder_cost(name: str, size: str) -> str:
    """Build and measure one encoder on this machine."""
    from hilum.encoders.cost import measure

    found = measure({"name": name, "size": size})
    return (
        f"  forward {found.forward * 1e3:.0f} ms  step {found.step * 1e3:.0f} ms"
        f"  peak {found.memory / 2**20:.0f} MiB  built in {found.build:.1f} s"
    )


def fusion_costs(patches: Sequence[int] = PATCHES, size: str = "tiny") -> Iterable[str]:
    """Yield a cost card per strategy and patch: CT and PET, residual encoders, batch 1, float32.

    Args:
        patches: Side of each patch in voxels.
        size: Of the encoders.
    """
    from hilum.fusion import STRATEGIES
    from hilum.fusion.cost import cost, seconds

    wide = max(map(len, STRATEGIES))
    for side in patches:
        patch: IntTriple = (side, side, side)
        yield f"fusion, resenc {size}, CT and PET, patch {side} x {side} x {side}, float32"
        yield f"  {HEAD[0]:<{wide}}" + "".join(f"{head:>12}" for head in HEAD[1:])
        for name in STRATEGIES:
            strategy = _strategy(name, size, patch)
            found, took = cost(strategy, patch), seconds(strategy, patch)
            yield (
                f"  {name:<{wide}}{found.parameters / 1e6:>10.2f} M{found.flops / 1e9:>12.0f}"
                f"{found.memory / 2**30:>8.2f} GiB{took.forward:>10.2f} s{took.step:>10.2f} s"
            )
    yield "memory: peak of tensors in a training step, counted; times: this machine, as it is set"


def _strategy(name: str, size: str, patch: IntTriple) -> Any:
    from hilum.core.settings import validate
    from hilum.segmenter.config import SegmenterConfig
    from hilum.segmenter.segmenter import Segmenter

    own = {"modality": "ct"} if name == "single" else {}
    config = {
        "modalities": ("ct", "pet"),
        "encoder": {"name": "resenc", "size": size},
        "fusion": {"name": name, **own},
        "patch": patch,
        "spacing": (3, 2, 2),
    }
    return Segmenter(validate(SegmenterConfig, config)).strategy


def check_patches(patches: Sequence[int]) -> tuple[int, ...]:
    """Return the sides; they must fit the encoders' strides.

    Raises:
        SettingsError: If one does not.
    """
    for side in patches:
        if side < 16 or side % 8:
            raise SettingsError(
                "a patch must be divisible by 8 and at least 16", found=side, remedy="as in 96"
            )
    return tuple(patches)
