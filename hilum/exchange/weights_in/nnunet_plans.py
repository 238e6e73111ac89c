"""nnU-Net's plans in a checkpoint: what was trained, told with the axes of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from hilum.core.errors import CheckpointError

from .reading import ForeignFile
from .source import Recipe

AXES = (0, 1, 2)


@dataclass(frozen=True)
class Plans:
    """What a checkpoint says about its training.

    nnU-Net puts the axis of the largest spacing first: `transpose_forward`. Sizes in the plans and
    kernels of the network are in that order.

    Attributes:
        configuration: What was trained, with what it inherits, axes as in the plans.
        axes: Which axis of the network is the depth, height and width of the image.
    """

    configuration: Mapping[str, Any]
    axes: tuple[int, ...] = AXES

    @property
    def layers(self) -> Mapping[str, Any]:
        """What the network was built with; empty in plans of before version 2.4."""
        return (self.configuration.get("architecture") or {}).get("arch_kwargs") or {}

    @property
    def strides(self) -> list[Any] | None:
        """Of each stage; plans of before version 2.4 have them under another name."""
        found = self.layers.get("strides") or self.configuration.get("pool_op_kernel_sizes")
        return [_ordered(stride, self.axes) for stride in found] if found else None

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Millimetres along depth, height, width."""
        return self._sides("spacing", float)

    @property
    def patch(self) -> tuple[int, int, int] | None:
        """Sides in voxels."""
        return self._sides("patch_size", int)

    @property
    def turned(self) -> bool:
        """Whether the network has the axes in another order than the image."""
        return self.axes != AXES

    def turned_back(self, foreign: ForeignFile) -> ForeignFile:
        """Return the file with the kernels' axes in the order of the image's."""
        if not self.turned:
            return foreign
        order = (0, 1, *(2 + axis for axis in self.axes))
        return replace(
            foreign,
            tensors={
                name: tensor.permute(order) if tensor.ndim == 5 else tensor
                for name, tensor in foreign.tensors.items()
            },
        )

    def check_order(self, foreign: ForeignFile, what: str) -> None:
        """Refuse a transformer with other axes: its tables, positions and tokens have an order."""
        if self.turned:
            raise CheckpointError(
                f"{what} must have the axes of the image",
                file=foreign.path,
                found="plans that exchange them (transpose_forward)",
                remedy="train it with plans that keep their order",
            )

    def note(self, recipe: Recipe) -> None:
        """Say in a recipe of a file that was turned back what was done."""
        if not self.turned:
            return
        recipe.notes.append(
            "the plans exchange the axes of the image: kernels, strides, spacing and patch are "
            "turned back, which computes the same"
        )
        recipe.adapted |= _turned(recipe.weights)
        if recipe.whole is not None:
            recipe.whole.adapted |= _turned(recipe.whole.weights)

    def _sides(self, key: str, kind: type) -> Any:
        found = self.configuration.get(key)
        if found is None or len(found) != 3:
            return None
        return tuple(kind(side) for side in _ordered(found, self.axes))


def plans_of(foreign: ForeignFile) -> Plans:
    """Return the plans of a checkpoint; empty ones if it has none."""
    args = args_of(foreign)
    plans = args.get("plans") or {}
    every = plans.get("configurations") or {}
    chain, name = [], args.get("configuration")
    while name in every and every[name] not in chain:
        chain.append(every[name])
        name = every[name].get("inherits_from")
    merged: dict[str, Any] = {}
    for part in reversed(chain):
        merged |= part
    return Plans(merged, axes_of(foreign, plans))


def args_of(foreign: ForeignFile) -> Mapping[str, Any]:
    """Return what nnU-Net's trainer was started with: plans, configuration, `dataset.json`."""
    found = foreign.about.get("init_args")
    return found if isinstance(found, Mapping) else {}


def axes_of(foreign: ForeignFile, plans: Mapping[str, Any]) -> tuple[int, ...]:
    """Return which axis of the network is the depth, height and width of the image.

    Raises:
        CheckpointError: If the plans exchange other axes than three.
    """
    forward = list(plans.get("transpose_forward") or AXES)
    if sorted(forward) != list(AXES):
        raise CheckpointError(
            "transpose_forward in the plans must order three axes",
            file=foreign.path,
            found=forward,
            remedy="take the checkpoint as nnU-Net wrote it",
        )
    return tuple(forward.index(axis) for axis in AXES)


def _ordered(sides: Any, axes: Sequence[int]) -> Any:
    """Return one number per axis in the order of the image; other things as they are."""
    if isinstance(sides, list | tuple) and len(sides) == len(axes):
        return [sides[axis] for axis in axes]
    return sides


def _turned(weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Return a word on each kernel that turning changes."""
    return {
        name: "axes turned back, exact"
        for name, tensor in weights.items()
        if tensor.ndim == 5 and set(tensor.shape[2:]) != {1}
    }
