"""All that a run has before its first step; what can be wrong with it is found here.

The run itself, `--dry-run` and the plan of a study come through this file, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl

from hilum.core.errors import SettingsError
from hilum.core.registry import build
from hilum.core.seen import Seen
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.settings import LoadingSettings, PatchSettings
from hilum.datasets.loading.sources import check_weights
from hilum.datasets.splits import Split, counted, left_out_line, make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.recipe import differences
from hilum.losses import LOSSES
from hilum.segmenter.assessment.prepared_cases import check_conditions
from hilum.segmenter.segmenter import Segmenter
from hilum.training.threads import readers

from .baseline import ReadyRule, ready_rule
from .building import config_of, modalities_of, resolved, segmenter_of, start_of
from .data import CaseValidation, maps_for, nothing_to_draw
from .learned_from import learned_from
from .module import FinetuneModule
from .no_labels import ReadyNetwork, ready_network
from .plan import GIB, needed
from .prior_limit import with_limit
from .semi_supervised.kept_classes import known_classes
from .semi_supervised.pseudo_labels import check_labeller
from .semi_supervised.unlabelled import UnlabelledToo, unlabelled_patches
from .settings import FinetuneSettings
from .targets import learns_shares
from .transfer.load import TransferReport
from .unused import unused_of


@dataclass(frozen=True)
class Patients:
    """Who trains, validates and tests, and what is asked about them.

    Attributes:
        store: Where they are.
        split: Which does what.
        modalities: What the run may see, in order.
        conditions: Subsets of them to test with.
        seen: Whom the segmenter will have learned from.
        notes: What the user should know of that.
    """

    store: CaseStore
    split: Split
    modalities: tuple[str, ...]
    conditions: tuple[str, ...]
    seen: Seen
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Ready:
    """A run that could begin.

    Attributes:
        settings: As they were given.
        patients: Who takes part.
        module: What learns; it holds the segmenter, and the settings with a rate chosen.
        data: What it reads.
        report: What was loaded; `None` from scratch.
        notes: What the user should know before it begins.
    """

    settings: FinetuneSettings
    patients: Patients
    module: FinetuneModule
    data: pl.LightningDataModule
    report: TransferReport | None
    notes: tuple[str, ...]

    @property
    def split(self) -> Split:
        """Who trains, validates and tests."""
        return self.patients.split

    @property
    def sees(self) -> tuple[str, ...]:
        """Modalities that the network sees."""
        return self.module.segmenter.modalities

    def lines(self) -> list[str]:
        """Return what would run, a line each: for `--dry-run`."""
        settings, segmenter, people = self.settings, self.module.segmenter, self.patients
        trainer, config = settings.trainer, segmenter.config
        numbers = sum(p.numel() for p in segmenter.parameters())
        memory = needed(segmenter.strategy, settings.patch, trainer.batch_size) / GIB
        patch = " x ".join(map(str, settings.patch))
        return [
            f"patients: {counted(people.store, people.split)}",
            f"network: {config.encoder['name']}, fusion {config.fusion['name']} of "
            f"{', '.join(segmenter.modalities)}, {segmenter.classes} classes, "
            f"{numbers / 1e6:.2f} million parameters",
            f"training: {trainer.length()} of {trainer.batch_size} patches of {patch} voxels, "
            f"about {memory:.1f} GiB in float32; `hilum bench` measures the time of a step",
            f"starts from: {settings.init_from or 'random weights'}",
            *([] if self.report is None else self.report.lines()),
            *(f"note: {note}" for note in self.notes),
        ]


def ready(
    settings: FinetuneSettings, place: Path | None = None, store: CaseStore | None = None
) -> Ready:
    """Build all that a run of these settings needs, and write nothing.

    Args:
        settings: All of the run.
        place: Run folder, for pictures.
        store: The case store if it is open already.

    Raises:
        UserError: If settings, store, weights and patients do not fit together.
    """
    people = patients_of(settings, store)
    start = start_of(settings, people.modalities)
    config = config_of(people.store, settings, people.modalities, start)
    config, told = with_limit(config, people.store, people.split)
    segmenter, report = segmenter_of(config, settings, start)
    if settings.pseudo.keep is not None:
        known_classes(settings, config)
    training, why = resolved(settings, config, people.split, people.store, report)
    taken = () if report is None else report.taken
    module = FinetuneModule(segmenter, training, people.store, place or Path(), taken)
    data = data_of(segmenter, settings, people.store, people.split)
    drawn = nothing_to_draw(settings, people.store, people.split)
    idle = map(str, unused_of(settings, people.store, people.split, segmenter.modalities))
    notes = (*told, *why, *people.notes, *drawn, *idle)
    return Ready(settings, people, module, data, report, notes)


def check(
    settings: FinetuneSettings, store: CaseStore | None = None
) -> Ready | ReadyRule | ReadyNetwork:
    """Return what a run of these settings would be, trained or not; raise what it would raise."""
    if settings.baseline is not None:
        return ready_rule(settings, store)
    if settings.split.labels == 0:
        return ready_network(settings, store)
    return ready(settings, store=store)


def patients_of(settings: FinetuneSettings, store: CaseStore | None = None) -> Patients:
    """Return who takes part, without any network.

    Raises:
        UserError: If the store lacks what is asked of it, or a test patient was learned from.
    """
    store = store or CaseStore(settings.store)
    check_pool(store, settings)
    split = make_split(store, settings.split)
    asked = modalities_of(store, settings)
    conditions = check_conditions(settings.conditions, asked)
    seen, notes = learned_from(settings, store, split)
    notes = [*left_out_line(split), *differences(store), *notes]
    if settings.pseudo.segmenter is not None:
        check_labeller(store, split, settings)
    return Patients(store, split, asked, tuple(conditions), seen, tuple(notes))


def check_pool(store: CaseStore, settings: FinetuneSettings) -> None:
    """Raise an error if a pool of stores has wrong weights, or shall get labels of its own."""
    check_weights(store, settings.weights)
    if isinstance(settings.store, Mapping) and settings.pseudo.makes_labels:
        raise SettingsError(
            "labels can be made for one store only, not for a pool of several",
            found=", ".join(settings.store),
            remedy="write one manifest of all and prepare it, or leave out pseudo-labels",
        )


def parts_of(settings: FinetuneSettings) -> tuple[FinetuneModule, PatchData]:
    """Return the module and the labelled patches of a run of these settings, without a run."""
    found = ready(settings)
    store, split = found.patients.store, found.patients.split
    return found.module, patches_of(found.module.segmenter, settings, store, split)


def data_of(
    segmenter: Segmenter,
    settings: FinetuneSettings,
    store: CaseStore,
    split: Split,
    labelled: tuple[CaseStore, Split] | None = None,
) -> pl.LightningDataModule:
    """Return what a run reads; `labelled` has the labels if they are not those of the store."""
    patches = patches_of(segmenter, settings, *(labelled or (store, split)))
    on_cases = settings.validate_on == "cases"
    data = CaseValidation(patches, split.validation) if on_cases else patches
    if not settings.teacher.weight and not settings.synthetic.replay:
        return data
    unlabelled = unlabelled_patches(
        store, split, settings, segmenter.modalities, segmenter.config.zscored
    )
    return UnlabelledToo(data, unlabelled)


def patches_of(
    segmenter: Segmenter, settings: FinetuneSettings, store: CaseStore, split: Split
) -> PatchData:
    """Return the batches of labelled patches."""
    trainer, on_cases = settings.trainer, settings.validate_on == "cases"
    loss = build(LOSSES, settings.loss, spacing=segmenter.config.spacing)
    augmentation = PairedAugmentation(
        segmenter.modalities,
        settings.patch,
        store.spacing,
        settings.augmentation,
        segmenter.config.zscored,
    )
    return PatchData(
        store,
        split.train,
        () if on_cases else split.validation,
        loading=LoadingSettings(
            PatchSettings(
                settings.patch,
                segmenter.modalities,
                settings.foreground,
                settings.hard,
                organs=tuple(settings.organs.numbers),
                zscored=segmenter.config.zscored,
                copies=settings.copies,
                soft=learns_shares(settings, store, split),
                weights=settings.weights,
            ),
            batch_size=trainer.batch_size,
            accumulate=trainer.accumulate,
            steps=trainer.steps,
            seed=settings.seed,
            workers=readers(trainer),
        ),
        augmentation=augmentation,
        finish=maps_for(loss, segmenter.classes, bool(settings.organs.numbers)),
    )
