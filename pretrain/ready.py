"""All that a run has before its first step; what can be wrong with it is found here.

The run itself, `--dry-run` and the plan of a study come through this file, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from hilum.core.checkpoints import LoadReport, load_weights, read_config
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.geometry import Triple
from hilum.core.input_scale import scale_of
from hilum.core.registry import build
from hilum.core.seeds import derive
from hilum.core.seen import Seen, read_seen, together
from hilum.core.unused import Idle, Rule, unused
from hilum.core.weights import read_weights
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.leakage import check_unseen, seen_in
from hilum.datasets.loading.datamodule import PatchData
from hilum.datasets.loading.settings import LoadingSettings, PatchSettings
from hilum.datasets.loading.sources import check_weights
from hilum.datasets.splits import left_out_line, make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.recipe import differences
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.training.threads import readers

from . import TASKS
from .base import PretextTask
from .module import PretrainModule
from .monitors import Monitors
from .pool import cases, channels
from .probe import VoxelProbe, probe_cases
from .settings import PretrainSettings

ALARMS = tuple(f"monitors.{key}" for key in ("least_rank", "least_std", "entropy", "stop"))
Cases = tuple[Sequence[str], Sequence[str]]


@dataclass(frozen=True)
class Ready:
    """A run that could begin.

    Attributes:
        settings: As they were given.
        store: Where the scans are.
        modalities: Name of each channel.
        cases: Those that train, and those that validate.
        seen: Whom the encoder will have learned from.
        module: What learns.
        data: What it reads.
        probe: What measures the features while they are learned, if anything shall.
        report: What was loaded; `None` from random weights.
        notes: What the user should know before it begins.
    """

    settings: PretrainSettings
    store: CaseStore
    modalities: tuple[str, ...]
    cases: Cases
    seen: Seen
    module: PretrainModule
    data: PatchData
    probe: list[VoxelProbe]
    report: LoadReport | None
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return what would run, a line each: for `--dry-run`."""
        settings, trainer = self.settings, self.settings.trainer
        train, validate = self.cases
        apart = set(validate) - set(train)
        kept = f"{self._patients(validate)} validate" if apart else "none validates apart"
        numbers = sum(p.numel() for p in self.module.task.parameters())
        patch = " x ".join(map(str, settings.patch))
        return [
            f"patients: {self._patients(train)} train, {kept}; "
            + ("labels are read by the probe alone" if self.probe else "no label is read"),
            f"network: {settings.encoder['name']} of {', '.join(self.modalities)}, task "
            f"{settings.task['name']}, {numbers / 1e6:.2f} million parameters with the task's own",
            f"training: {trainer.length()} of {trainer.batch_size} patches of {patch} voxels; "
            "`hilum bench --pretrain` measures the time of a step and its memory",
            f"starts from: {settings.init_from or 'random weights'}",
            *([] if self.report is None else self.report.lines()[:1]),
            *(f"note: {note}" for note in self.notes),
        ]

    def _patients(self, cases: Sequence[str]) -> int:
        return len({self.store.rows[name]["patient"] for name in cases})


def ready(
    settings: PretrainSettings, place: Path | None = None, store: CaseStore | None = None
) -> Ready:
    """Build all that a run of these settings needs, and write nothing.

    Args:
        settings: All of the run.
        place: Run folder, for pictures and alarms; without one there are none.
        store: The case store if it is open already.

    Raises:
        UserError: If settings, store and weights do not fit together.
    """
    store = store or CaseStore(settings.store)
    check_weights(store, settings.weights)
    names = channels(store, settings)
    chosen = cases(store, settings, names)
    task, report = make_task(settings, names, store.spacing)
    task.check_augmentation(settings.augmentation)
    task.check_pool(store, chosen[0])
    augmentation = PairedAugmentation(names, settings.patch, store.spacing, settings.augmentation)
    module = PretrainModule(
        task,
        augmentation,
        spacing=store.spacing,
        settings=settings.trainer,
        seed=settings.seed,
        pictures=place and place / "pictures",
        monitors=Monitors(settings.monitors, place / "replay")
        if place and settings.monitors.on
        else None,
    )
    data = PatchData(
        store,
        *chosen,
        loading=LoadingSettings(
            PatchSettings(settings.patch, tuple(names), labelled=False, weights=settings.weights),
            batch_size=settings.trainer.batch_size,
            accumulate=settings.trainer.accumulate,
            steps=settings.trainer.steps,
            seed=derive(settings.seed, "patches"),
            workers=readers(settings.trainer),
        ),
        augmentation=augmentation,
        late=task.views > 1,
    )
    seen, notes = _seen(settings, store, chosen, task)
    probe = _probe(store, settings, names, augmentation)
    return Ready(
        settings, store, tuple(names), chosen, seen, module, data, probe, report, tuple(notes)
    )


def parts_of(settings: PretrainSettings) -> tuple[PretrainModule, PatchData]:
    """Return the module and the patches that a run of these settings has, without a run."""
    found = ready(settings)
    return found.module, found.data


def _seen(
    settings: PretrainSettings, store: CaseStore, chosen: Cases, task: PretextTask
) -> tuple[Seen, list[str]]:
    """Return whom the encoder will have seen, and what the user should know of that and the pool.

    Validation patients count: the loss on them is looked at to choose settings.
    """
    seen, source, notes = seen_in(store, {*chosen[0], *chosen[1]}), settings.init_from, []
    split = make_split(store, settings.split)
    if source is not None:
        seen = together(read_seen(source), seen)
        notes = check_unseen(source, store, split.test)
    told = [*left_out_line(split), *differences(store), *map(str, unused_in(settings))]
    return seen, [*told, *notes, *task.pool_notes(store, chosen[0])]


def unused_in(settings: PretrainSettings) -> list[Idle]:
    """Return what does nothing with the other settings."""
    about = [f"split.{key}" for key in ("labels", "draw", "balance_sites", "choose")]
    test = settings.split.test
    rules: list[Rule] = [
        (not settings.monitors.on, ("monitors.voxels", *ALARMS), "monitors.on is false"),
        (not settings.probe.every, ("probe",), "probe.every is 0"),
        (not settings.probe.every, about, "no label is read"),
        # The probe reads labels of those who train and of those who validate.
        (
            not settings.probe.every,
            ("split.validation",),
            "validation says how many patients validate here",
        ),
        (test != "fold", ("split.folds", "split.fold"), f"split.test is {test}"),
        (test != "site", ("split.site",), f"split.test is {test}"),
    ]
    return unused(settings, rules)


def make_task(
    settings: PretrainSettings,
    names: Sequence[str],
    spacing: Triple,
) -> tuple[PretextTask, LoadReport | None]:
    """Build the pretext task around an encoder, and say what was loaded if it is not a new one.

    Args:
        settings: Encoder, task, patch, seed and where to go on from.
        names: Modality of each channel.
        spacing: mm per voxel of the store.
    """
    report = None
    with torch.random.fork_rng():
        torch.manual_seed(derive(settings.seed, "weights"))
        try:
            encoder = build(ENCODERS, settings.encoder, in_channels=len(names))
            encoder.check_sides(settings.patch)
            if settings.init_from is not None:  # first, so that a teacher begins as its student
                report = _go_on(encoder, settings.init_from, names)
            context = {"modalities": tuple(names), "spacing": spacing}
            task = build(TASKS, settings.task, encoder=encoder, **context)
        except UserError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise SettingsError(
                "encoder and task must have parameters that fit",
                found=f"{settings.encoder}, {settings.task}: {error}",
            ) from None
    task.check_patch(settings.patch)
    if settings.trainer.batch_size < task.least_batch:
        raise SettingsError(
            f"{settings.task['name']} needs batches of at least {task.least_batch}",
            found=f"trainer.batch_size {settings.trainer.batch_size}",
            remedy="enlarge trainer.batch_size; trainer.accumulate does not help",
        )
    return task, report


def _probe(
    store: CaseStore,
    settings: PretrainSettings,
    names: Sequence[str],
    augmentation: PairedAugmentation,
) -> list[VoxelProbe]:
    """Return the probe, or nothing if there shall be none: then no label is read."""
    if not settings.probe.every:
        return []
    chosen = probe_cases(store, settings.split, names, settings.probe, settings.seed)
    return [
        VoxelProbe(
            store,
            chosen,
            augmentation,
            settings.probe,
            validate_every=settings.trainer.validate_every,
            steps=settings.trainer.steps,
            seed=derive(settings.seed, "probe"),
        )
    ]


def _go_on(encoder: Encoder, folder: Path, names: Sequence[str]) -> LoadReport:
    config = read_config(folder)
    for name in set(names) & set(config.intensity):
        if config.intensity[name] != scale_of(name):
            raise CheckpointError(
                f"{name} must be scaled as when the encoder was trained",
                file=folder,
                found=f"{scale_of(name)} here, {config.intensity[name]} there",
                remedy="pretrain on from an encoder that sees fixed windows"
                if config.intensity[name].get("scale") == "zscore"
                else "use the version of hilum that trained it",
            )
    return load_weights(
        encoder,
        read_weights(folder),
        source=config.modalities,
        target=tuple(names),
        stem=encoder.stem,
    )
