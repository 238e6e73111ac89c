"""What numbers of a label mean to the loss: classes, regions, or fractions of raters for each."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hilum.core.errors import SettingsError
from hilum.core.registry import build
from hilum.datasets.batch import Batch
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.losses import LOSSES
from hilum.losses.base import Targets
from hilum.segmenter.operating.regions import Regions

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


class LabelTargets(nn.Module):
    """What numbers of a label mean to a segmenter of classes, or of regions. Final.

    Args:
        regions: Its regions, if it has any.
    """

    def __init__(self, regions: Regions | None = None) -> None:
        super().__init__()
        table = None if regions is None else torch.from_numpy(regions.membership())
        self.register_buffer("membership", table, persistent=False)

    def forward(self, batch: Batch) -> Targets | None:
        """Return what the numbers of a batch's label mean; nothing if one class each.

        A region of which a case's label does not say all is nowhere in that case.
        """
        shares: Tensor | None = batch.get("targets")
        table = self.membership
        if not isinstance(table, Tensor):
            return None if shares is None else Targets(shares)
        if shares is not None:
            # A rater's class is in its regions; so the shares of regions are those of raters.
            table = shares @ table[: shares.shape[2]]
        annotated = batch.get("annotated")
        if annotated is not None:
            table = table * self.known(annotated)[:, None]
        return Targets(table, overlapping=True)

    def known(self, annotated: Tensor) -> Tensor:
        """Return of which regions the labels of a batch say all, bool `[B, 1 + regions]`.

        Args:
            annotated: Which values of the label were looked for, `[B, values]`.
        """
        table = self.membership
        assert isinstance(table, Tensor)
        missing = (~annotated).to(table) @ table[: annotated.shape[1]]
        missing[:, 0] = 0
        return missing == 0
