"""A run without learning: a rule on the uptake, tested as every segmenter is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hilum.core.counts import many
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.modality import modality
from hilum.core.runs import RunFolder
from hilum.core.settings import read_yaml, validate
from hilum.core.undefined import number as shown
from hilum.datasets.splits import Split, counted, left_out_line, make_split
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.segmenter.assessment.prepared_cases import (
    Predicts,
    assess_any,
    check_conditions,
    dice_of,
)
from hilum.segmenter.assessment.wandb_summary import show
from hilum.segmenter.baseline.choose import choose_rule
from hilum.segmenter.baseline.rule import BaselineSettings, baseline_mask, baseline_scores
from hilum.training.tracking import tracked

from .building import modalities_of
from .settings import FinetuneSettings
from .unused import unused_of

Say = Callable[[str], None]


@dataclass(frozen=True)
class ReadyRule:
    """A run without learning that could begin.

    Attributes:
        store: Where the cases are.
        split: Who chooses and who tests.
        modalities: What the rule may see.
        conditions: Those to test with that have a PET.
        able: Test cases that have one.
        rule: The rule, with nothing left to choose.
        told: How it was chosen; empty if nothing was.
        notes: What the user should know before it begins.
    """

    store: CaseStore
    split: Split
    modalities: tuple[str, ...]
    conditions: list[str]
    able: list[str]
    rule: BaselineSettings
    told: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def sees(self) -> tuple[str, ...]:
        """What the rule may see."""
        return self.modalities

    def lines(self) -> list[str]:
        """Return what would run, a line each: for `--dry-run`."""
        return [
            f"patients: {counted(self.store, self.split)}",
            f"baseline: {self.rule.words()}{_who(self.told)}",
            *(f"note: {note}" for note in self.notes),
        ]


def ready_rule(settings: FinetuneSettings, store: CaseStore | None = None) -> ReadyRule:
    """Choose what is `auto`, and write nothing.

    Raises:
        SettingsError: If no modality is in SUV.
        DataError: If nobody can choose, or no test case has a PET.
    """
    store = store or CaseStore(settings.store)
    split, names = make_split(store, settings.split), modalities_of(store, settings)
    conditions = check_conditions(settings.conditions, names)
    hot = {name for name in names if modality(name).unit == "SUV"}
    if not hot:
        raise SettingsError(
            "a baseline needs a modality in SUV",
            found=", ".join(names),
            remedy="leave out baseline, or choose other modalities",
        )
    asked = [c for c in conditions if hot & set(c.split("+"))]
    if not asked:
        raise SettingsError(
            "a baseline needs a condition with PET",
            found=", ".join(conditions),
            remedy="add pet or ct+pet to conditions",
        )
    able = [c for c in split.test if hot & set(store.rows[c]["modalities"])]
    if settings.evaluate_test and split.test and not able:
        raise DataError(
            "a test case must have a PET",
            file=store.path,
            remedy="test on cases with a PET, or take no baseline",
        )
    rule, told = filtered(settings), {}
    if rule.value >= max(store.classes, 2):
        raise SettingsError(
            f"baseline.value must be a class of the store, 1 to {max(store.classes, 2) - 1}",
            found=rule.value,
            remedy="choose one of these",
        )
    if rule.chooses:
        chosen = choose_rule(store, [*split.train, *split.validation], rule)
        rule = chosen.rule
        told = {"dice_of_choice": chosen.dice, "patients_of_choice": chosen.patients}
    notes = (*left_out_line(split), *map(str, unused_of(settings, store, split, names)))
    return ReadyRule(store, split, names, asked, able, rule, told, notes)


def filtered(settings: FinetuneSettings) -> BaselineSettings:
    """Return the rule; an operating point without labels keeps those components that it expects.

    Raises:
        SettingsError: If both say which components are kept, or a number of nodes is expected.
    """
    rule, point = settings.baseline, settings.operating_point
    assert rule is not None
    if point.by != "expected" or not point.choose:
        return rule
    expected = point.expected
    if rule.filters:
        raise SettingsError(
            "one of baseline and operating_point.expected may say which components are kept",
            found=rule.words(),
            remedy="set operating_point.by=labels, or leave volumes, suv_max and at_most out of "
            "baseline",
        )
    if expected.number is not None or expected.total_ml is not None:
        raise SettingsError(
            "a rule has no threshold for a number or volume of nodes to move",
            remedy="leave out expected.number and expected.total_ml, or choose baseline.limit",
        )
    kept = expected.filters()
    floor = kept.pop("suv_floor")
    smallest = {"suv_max": floor, "min_volume_ml": 0.0} if floor is not None else {}
    return validate(BaselineSettings, rule.model_dump() | kept | smallest)


def run_baseline(settings: FinetuneSettings, out: Path, *, say: Say = print) -> Path:
    """Let the labelled patients choose what is `auto` in the rule, and test it.

    Training and validation patients choose, all whose labels a network of the same settings would
    see. The folder gets `split.json`, `baseline.json` and `test/`, as of any run; there is no
    segmenter. Cases without a PET, and conditions without one, are left out.

    Args:
        settings: Of the run; what is about networks does not matter.
        out: Run folder.
        say: Gets a line now and then.

    Returns:
        The run folder.

    Raises:
        SettingsError: If no modality is in SUV.
        DataError: If nobody can choose, or no test case has a PET.
    """
    began, found = time.monotonic(), ready_rule(settings)
    store, split, asked, able = found.store, found.split, found.conditions, found.able
    rule, told = found.rule, found.told
    with RunFolder.open(out, settings, "finetune", data=store.fingerprint) as run:
        if run.done:
            say(f"{run.path} is done")
            return run.path
        write_json(run.path / "split.json", split.as_json())
        write_json(run.path / "baseline.json", {"rule": rule.model_dump(mode="json"), **told})
        for line in found.lines()[1:]:
            say(line)
        summary: dict[str, float] = {"steps": 0, "parameters": 0}
        config, tracking = read_yaml(run.path / "config.yaml"), settings.trainer.tracking
        with tracked(run.path, tracking, config, run.command) as w:
            if settings.evaluate_test and able:
                if len(able) < len(split.test):
                    say(f"note: {len(split.test) - len(able)} test cases without PET are left out")
                predicts = _predicts(rule, max(store.classes, 2))
                results = assess_any(
                    predicts, found.modalities, store, able, asked, run.path / "test"
                )
                for condition in asked:
                    say(f"test Dice with {condition}: {shown(dice_of(results, condition), '.4f')}")
                summary |= show(results, run.path / "test", w)
        run.finish(summary | {"seconds": round(time.monotonic() - began, 2)})
    return run.path


def _predicts(rule: BaselineSettings, classes: int) -> Predicts:
    """Return the rule as what `assess_any` asks."""

    def predicts(case: StoredCase, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        use_ct = any(modality(name).unit == "HU" for name in names)
        scores = baseline_scores(case, rule, classes, use_ct)
        return scores, baseline_mask(case, rule, use_ct)

    return predicts


def _who(told: dict[str, Any]) -> str:
    if not told:
        return ""
    number, dice = told["patients_of_choice"], told["dice_of_choice"]
    return f" ({many(number, 'labelled patient')} chose it, with Dice {shown(dice, '.2f')})"
