"""Settings of the data that a training run reads, shared by every stage that trains."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from hilum.core.settings import Settings


class PoolSettings(Settings):
    """One case store, or several as one pool; the base of the settings of each stage."""

    store: Path | dict[str, Path] = Field(
        description="case store, made by `hilum prepare`; or several as one pool, as in "
        "store.lung=FOLDER store.neck=FOLDER"
    )
    weights: dict[str, float] = Field(
        default_factory=dict,
        description="patches from each store of a pool relative to the others, no unit; empty: "
        "by the number of cases",
    )
