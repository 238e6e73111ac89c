"""Where the cells of a study run: on this machine, on a cluster, or wherever the user types."""

from __future__ import annotations

from collections.abc import Callable

from hilum.core.errors import SettingsError, did_you_mean

from . import slurm
from .order import Order, command


def print_commands(order: Order) -> None:
    """Print one command per cell, in order: cells that others start from come first."""
    for cell in order.cells:
        order.say(f"{command(order.out)} {cell.key}")


ENGINES: dict[str, Callable[[Order], object]] = {
    "print": print_commands,
    "sbatch": slurm.submit,
    "script": slurm.show,
}
"""Engines that hand cells over and return; `local`, the default, runs them and waits."""


def engine(name: str) -> Callable[[Order], object]:
    """Return an engine by its name.

    Raises:
        SettingsError: If there is none of this name.
    """
    if name not in ENGINES:
        known = ["local", *ENGINES]
        raise SettingsError(
            f"the engine must be one of {', '.join(known)}{did_you_mean(name, known)}",
            found=name,
            remedy="choose one of these",
        )
    return ENGINES[name]
