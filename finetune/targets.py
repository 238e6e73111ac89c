"""What the numbers of a label mean to the loss: classes, or fractions of them by several raters."""

from __future__ import annotations

from torch import Tensor

from hilum.core.errors import SettingsError
from hilum.core.registry import build
from hilum.datasets.batch import Batch
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.losses import LOSSES
from hilum.losses.base import Targets

from .settings import FinetuneSettings


def learns_shares(settings: FinetuneSettings, store: CaseStore, split: Split) -> bool:
    """Return whether training cases have fractions of several raters, and the run learns them.

    Raises:
        SettingsError: If something in the settings needs one class for each voxel.
    """
    soft = [name for name in split.train if store.rows[name].get("soft")]
    if not settings.soft or not soft:
        return False
    found = f"{len(soft)} training cases with soft labels of several raters"
    leave = "or set soft=false, which learns the label that they are fused to"
    if not build(LOSSES, settings.loss).any_targets:
        fits = ", ".join(name for name, loss in LOSSES.working() if loss.any_targets)
        raise SettingsError(
            f"loss.name={settings.loss['name']} needs one class for each voxel",
            found=found,
            remedy=f"choose {fits}; {leave}",
        )
    for asked, what in (
        (settings.synthetic.on, "synthetic nodes"),
        (bool(settings.organs.numbers), "organs"),
    ):
        if asked:
            raise SettingsError(
                f"{what} need one class for each voxel",
                found=found,
                remedy=f"leave them out, {leave}",
            )
    return True


def targets_of(batch: Batch) -> Targets | None:
    """Return what the numbers of a batch's label mean; nothing if one class each."""
    shares: Tensor | None = batch.get("targets")
    return None if shares is None else Targets(shares)
