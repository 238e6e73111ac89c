"""Regions of a run: which they are, and what does not go together with classes that overlap."""

from __future__ import annotations

from hilum.core.errors import SettingsError
from hilum.core.registry import build, look_up
from hilum.datasets.store.case_store import CaseStore
from hilum.fusion import STRATEGIES
from hilum.losses import LOSSES
from hilum.segmenter.operating.regions import Regions
from hilum.segmenter.segmenter import STRATEGY_GETS

from .settings import FinetuneSettings


def regions_of(settings: FinetuneSettings, store: CaseStore) -> Regions | None:
    """Return the regions that a run learns; nothing if it learns classes.

    Raises:
        SettingsError: If they do not fit the labels, or the rest of the settings.
    """
    if not settings.regions:
        if settings.regions_class_order:
            raise SettingsError("regions_class_order needs regions", remedy="set regions")
        return None
    try:
        found = Regions.of(settings.regions, settings.regions_class_order)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    highest = max(value for own in found.values for value in own)
    if highest >= store.classes:
        raise SettingsError(
            f"regions must be made of the label's values, 1 to {store.classes - 1}",
            found=highest,
            remedy="see the values with `hilum check`",
        )
    for asked, what, remedy in _exclusive(settings):
        if asked:
            raise SettingsError(
                f"{what} need(s) one class for each voxel, and regions may overlap",
                remedy=f"{remedy}, or leave out regions",
            )
    return found


def _exclusive(settings: FinetuneSettings) -> list[tuple[bool, str, str]]:
    """Return what takes a voxel for one class: whether it is asked for, its name, what to do."""
    fits = ", ".join(name for name, loss in LOSSES.working() if loss.any_targets)
    strategy, _ = look_up(STRATEGIES, settings.fusion, STRATEGY_GETS)
    loss = settings.loss["name"]
    return [
        (settings.names is not None, "names", "leave out names: regions have theirs"),
        (not build(LOSSES, settings.loss).any_targets, f"loss.name={loss}", f"choose {fits}"),
        (strategy.exclusive, f"fusion.name={settings.fusion['name']}", "choose another strategy"),
        (bool(settings.organs.numbers), "organs", "leave out organs.numbers"),
        (settings.synthetic.on, "synthetic nodes", "set synthetic.p and synthetic.replay to 0"),
        (settings.pseudo.keep is not None, "pseudo.keep", "leave it out"),
        (bool(settings.missing.distillation), "missing.distillation", "set it to 0"),
    ]
