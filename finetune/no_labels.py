"""A run without labels: the network that a pretraining made, tested as every segmenter is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.files import write_json
from hilum.core.runs import RunFolder
from hilum.core.settings import read_yaml
from hilum.datasets.leakage import seen_in
from hilum.datasets.splits import Split, counted, left_out_line, make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.assessment.prepared_cases import check_conditions
from hilum.segmenter.assessment.wandb_summary import show
from hilum.segmenter.proposals import segmenter_of_network
from hilum.segmenter.segmenter import Segmenter
from hilum.training.tracking import tracked

from .assessing import assess_run
from .building import modalities_of
from .learned_from import learned_from
from .operating import choose_point, expected_cases
from .settings import FinetuneSettings
from .unused import unused_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class ReadyNetwork:
    """A run without labels that could begin.

    Attributes:
        store: Where the cases are.
        split: Who tests; nobody trains.
        conditions: Subsets of modalities to test with.
        segmenter: The network as it is.
        notes: What the user should know before it begins.
    """

    store: CaseStore
    split: Split
    conditions: tuple[str, ...]
    segmenter: Segmenter
    notes: tuple[str, ...]

    @property
    def sees(self) -> tuple[str, ...]:
        """Modalities that the network sees."""
        return self.segmenter.modalities

    def lines(self) -> list[str]:
        """Return what would run, a line each: for `--dry-run`."""
        return [
            f"patients: {counted(self.store, self.split)}",
            "no labels: nothing is trained, the pretrained network is tested as it is",
            *(f"note: {note}" for note in self.notes),
        ]


def ready_network(settings: FinetuneSettings, store: CaseStore | None = None) -> ReadyNetwork:
    """Read the network, and write nothing.

    Raises:
        SettingsError: If there is no folder to take it from.
        CheckpointError: If the folder holds no network that segments, or another kind of input.
        DataError: If it has learned from a test patient.
    """
    store = store or CaseStore(settings.store)
    split, names = make_split(store, settings.split), modalities_of(store, settings)
    folder = settings.init_from
    if not isinstance(folder, Path):
        raise SettingsError(
            "split.labels=0 needs a network that segments without labels",
            remedy="set init_from to one folder, such as RUN/network of "
            "`hilum pretrain task.name=synthetic_nodes`",
        )
    seen, notes = learned_from(settings, store, split)
    segmenter = segmenter_of_network(folder)
    config = segmenter.config
    wanted = {
        "modalities": (names, config.modalities),
        "classes": (max(store.classes, 2), config.classes),
        "spacing in mm": (store.spacing, config.spacing),
    }
    for what, (ours, theirs) in wanted.items():
        if ours != theirs:
            raise CheckpointError(
                f"without labels a network must fit the store as it is: {what}",
                file=folder,
                found=f"{theirs}, the store has {ours}",
                remedy="prepare the store as the network's, or set split.labels to train it",
            )
    # Whoever tests it may not be learned from unnoticed when it is trained on.
    own = {"inference": settings.inference, "tested": seen_in(store, split.test), "seen": seen}
    segmenter.config = config.model_copy(update=own)
    conditions = check_conditions(settings.conditions, names)
    if choosing := expected_cases(settings, store, split):
        notes = [*notes, f"{len(choosing)} cases of the pool set the operating point, unlabelled"]
    notes = [*left_out_line(split), *notes, *map(str, unused_of(settings, store, split, names))]
    return ReadyNetwork(store, split, tuple(conditions), segmenter, tuple(notes))


def run_network(settings: FinetuneSettings, out: Path, *, say: Say = print) -> Path:
    """Test the network of `init_from` as it is, at its own operating point.

    That is what the folder has; with `operating_point.by=expected` the pool sets it, by no label.

    The folder gets `split.json`, `segmenter/` and `test/`, as of any run.

    Args:
        settings: Of the run; what is about training does not matter.
        out: Run folder.
        say: Gets a line now and then.

    Returns:
        The segmenter folder.
    """
    began, found = time.monotonic(), ready_network(settings)
    store, split, segmenter = found.store, found.split, found.segmenter
    with RunFolder.open(out, settings, "finetune", data=store.fingerprint) as run:
        folder = run.path / "segmenter"
        if run.done:
            say(f"{run.path} is done")
            return folder
        write_json(run.path / "split.json", split.as_json())
        for line in found.lines():
            say(line)
        numbers = sum(p.numel() for p in segmenter.parameters())
        summary: dict[str, float] = {"steps": 0, "parameters": numbers}
        config, tracking = read_yaml(run.path / "config.yaml"), settings.trainer.tracking
        with tracked(run.path, tracking, config, run.command) as w:
            if settings.operating_point.by == "expected":
                choose_point(segmenter, settings, store, split, run, say)
            segmenter.save(folder)
            if settings.evaluate_test and split.test:
                asked = found.conditions
                results = assess_run(segmenter, settings, store, split, asked, run, say, steps=0)
                summary |= show(results, run.path / "test", w)
        run.finish(summary | {"seconds": round(time.monotonic() - began, 2)})
    return folder
