"""Settings of `hilum embed`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hilum.core.settings import Settings, validate
from hilum.datasets.splits import SplitSettings

Level = Literal["all", "finest", "coarsest"]


class EmbedSettings(Settings):
    """What is embedded, and how."""

    split: SplitSettings = Field(
        default_factory=lambda: validate(SplitSettings, {}),
        description="whom it tests: their labels are not read, nor do they set any scale",
    )
    window: tuple[int, int, int] | None = Field(
        None, description="sides of a patch in voxels; empty: those of the network's training"
    )
    levels: Level = Field(
        "all", description="feature maps whose means make the embedding: all, finest, coarsest"
    )
    batch_size: int = Field(2, ge=1, description="patches per forward pass")
    nodes: bool = Field(True, description="whether labelled nodes are embedded, too")
    neighbours: int = Field(
        3, ge=0, description="number of neighbours shown per case, on the page and by --near"
    )
    seed: int = Field(0, ge=0, description="seed of the locations that nodes are compared with")
