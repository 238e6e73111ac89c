"""Which patches a run draws, and how it reads them: one object from the command down each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.core.modality import modality

from .node_copies import CopySettings


@dataclass(frozen=True)
class PatchSettings:
    """What is drawn; checked when it is made.

    Attributes:
        sides: Of the patch that the network sees, in voxels.
        modalities: Channels in this order; all of the store if empty.
        foreground: Fraction of the patches that lie on a node, 0 to 1.
        hard: Fraction of the patches that lie on uptake outside of the label (`uptake.hot_spots`),
            0 to 1; these are anywhere in the body where no case has any.
        jitter: Largest distance of the node's voxel from the centre, as a fraction of `sides`.
        labelled: Whether to read labels. If not, nothing that was derived from a label is used
            either: `foreground` and `hard` count as 0. A case without a label among labelled ones
            gets a label of 255 (unknown) everywhere.
        organs: Numbers of organs to have in the label above its classes; see `organs.with_organs`.
        zscored: Modalities whose mean and deviation over the whole volume go with each patch.
        weights: Of stores that are used as one: how many patches come from each, relative to the
            others; empty: by the number of cases.
        copies: Nodes of other patients to paste; none if not given. Only with labels.
        soft: Whether the label of a case whose raters' shares are kept holds numbers of mixtures
            (`raters.shares`); `targets` of each patch then says what a number means.

    Raises:
        SettingsError: If a value is out of bounds.
    """

    sides: IntTriple
    modalities: tuple[str, ...] = ()
    foreground: float = 0.5
    hard: float = 0.0
    jitter: float = 0.25
    labelled: bool = True
    organs: tuple[int, ...] = ()
    zscored: tuple[str, ...] = ()
    copies: CopySettings | None = None
    soft: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.sides) != 3 or min(self.sides) < 1:
            raise SettingsError(
                "a patch must have three sides of at least 1",
                found=self.sides,
                remedy="as in patch=[96,96,96]",
            )
        for name in self.modalities:
            modality(name)
        if self.soft and self.organs:
            raise SettingsError(
                "organs do not go with soft labels, which take their numbers in the label",
                remedy="leave out organs.numbers, or set soft=false",
            )
        if not 0 <= self.foreground <= 1 or not 0 <= self.jitter <= 0.5:
            raise SettingsError(
                "foreground must be within 0 and 1, jitter within 0 and 0.5",
                found=f"{self.foreground} and {self.jitter}",
                remedy="as in foreground=0.5",
            )
        if self.labelled and not 0 <= self.hard <= 1 - self.foreground + 1e-9:
            raise SettingsError(
                "foreground and hard must leave no more than all",
                found=f"{self.foreground} and {self.hard}",
                remedy="lower one of them: their sum is at most 1",
            )


@dataclass(frozen=True)
class LoadingSettings:
    """The patches of a whole run: which, how many and how they are read; checked when it is made.

    Attributes:
        patches: Which patches.
        batch_size: Samples per batch and process.
        steps: Optimiser steps of the run.
        seed: Seed of the run.
        workers: Threads that read; 0 reads when the network waits.
        accumulate: Batches per optimiser step.
        validation_batches: Number of fixed batches that validate.

    Raises:
        SettingsError: If a number is out of bounds.
    """

    patches: PatchSettings
    batch_size: int
    steps: int
    seed: int
    workers: int = 0
    accumulate: int = 1
    validation_batches: int = 8

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "workers", "accumulate", "validation_batches"):
            found, least = getattr(self, name), int(name != "workers")
            if found < least:
                raise SettingsError(
                    f"{name} must be at least {least}", found=found, remedy="give a larger number"
                )
