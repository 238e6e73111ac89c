"""A setting that does nothing beside the others is said before the run begins, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from hilum.core.settings import load, validate
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.baseline import ready_rule
from hilum.finetune.ready import check
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.unused import unused_of

from ..tiny_cohort import ENCODER

BOTH = ("ct", "pet")
WITH_ONE = {"split": {"labels": 2, "validation": 1}}


def notes(store: CaseStore, see: tuple[str, ...] = BOTH, **changes: Any) -> list[str]:
    asked = validate(FinetuneSettings, {"store": str(store.path)} | WITH_ONE | changes)
    return [str(one) for one in unused_of(asked, store, make_split(store, asked.split), see)]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"transfer": {"parts": "encoder"}}, "transfer.parts does nothing: there is no init_from"),
        ({"transfer": {"classes": {"node": "lesion"}}}, "transfer.classes does nothing: there is"),
        ({"transfer": {"classes": {"node": "lesion"}}, "pseudo": {"keep": "old"}}, ""),
        ({"transfer": {"rate": 0.2}}, ""),
        ({"transfer": {"rank": 4}}, "transfer.rank does nothing: transfer.method is full, not"),
        ({"init_from": "e", "transfer": {"method": "adapters", "rank": 4}}, ""),
        ({"teacher": {"decay": 0.9}}, "teacher.decay does nothing: teacher.weight is 0"),
        ({"teacher": {"decay": 0.9, "weight": 1}}, ""),
        ({"missing": {"distillation": 1}}, "missing.distillation does nothing: missing.dropout"),
        ({"missing": {"dropout": 0.2, "temperature": 3}}, "missing.temperature does nothing: "),
        ({"synthetic": {"label": 2}}, "synthetic.label does nothing: synthetic.p and"),
        ({"pseudo": {"threshold": 0.8}}, "pseudo.threshold does nothing: there is no pseudo."),
        ({"organs": {"weight": 1}}, "organs.weight does nothing: organs.numbers is empty"),
        ({"validate_on": "patches", "pictures": 1}, "pictures does nothing: validate_on is"),
        (
            {"operating_point": {"choose": False, "volumes_ml": [1]}},
            "operating_point.volumes_ml does nothing: operating_point.choose is false",
        ),
        (
            {"operating_point": {"expected": {"number": 4}}},
            "operating_point.expected.number does nothing: operating_point.by is labels",
        ),
        (
            {"augmentation": {"misalign_p": 0, "misalign_turn": 5}},
            "augmentation.misalign_turn does nothing: augmentation.misalign_p is 0",
        ),
        ({"augmentation": {"misalign": {"mr_t1": 5}}}, "augmentation.misalign.mr_t1 does nothing"),
        ({"evaluate_test": False, "conditions": ["ct"]}, "conditions does nothing: evaluate_test"),
        ({"split": {"labels": 2, "fold": 3}}, "split.fold does nothing: split.test is manifest"),
        ({"split": {"draw": 1}}, "split.draw does nothing: all labelled patients that are left"),
        ({"split": {"labels": 2, "draw": 1}}, ""),
        (
            {"split": {"labels": 2}, "trainer": {"patience": 3}},
            "trainer.patience does nothing: split.validation is 0, nobody validates",
        ),
    ],
)
def test_what_does_nothing_is_named(store: CaseStore, changes: dict[str, Any], told: str) -> None:
    found = notes(store, **changes)
    assert [line[: len(told)] for line in found] == ([told] if told else [])


def test_what_one_modality_has_no_use_for_is_named(store: CaseStore) -> None:
    asked = {"augmentation": {"dropout": 0.3, "suv_scale": {"p": 1}}, "conditions": ["ct", "pet"]}
    assert notes(store, **asked) == []
    assert notes(store, ("ct",), **asked) == [
        "augmentation.dropout does nothing: the network sees ct alone",
        "augmentation.suv_scale.p does nothing: no SUV, the network sees ct alone",
        "condition pet is left out: the network sees ct",
    ]


@pytest.mark.parametrize("recipe", ["few_label", "first_patients"])
def test_a_recipe_as_it_stands_uses_all_that_it_says(store: CaseStore, recipe: str) -> None:
    asked = load(FinetuneSettings, [recipe], ["store=store", "init_from=network"])
    asked = asked.model_copy(update={"split": validate(type(asked.split), WITH_ONE["split"])})
    assert unused_of(asked, store, make_split(store, asked.split), BOTH) == []


def test_a_baseline_names_what_is_about_networks(store: CaseStore) -> None:
    values = {"store": str(store.path), "baseline": {"limit": 2.5}, "trainer": {"steps": 7}}
    asked = validate(FinetuneSettings, values | {"loss": {"name": "dice_ce", "dice": 2}})
    lines = ready_rule(asked).lines()
    assert "note: loss, trainer.steps do nothing: a baseline is no network" in lines


def test_a_network_that_is_not_trained_names_what_is_about_training(store: CaseStore) -> None:
    values = {"store": "store", "split": {"labels": 0}, "init_from": "network"}
    asked = validate(FinetuneSettings, values | {"prior_rule": {"limit": 2}, "seed": 1})
    split = make_split(store, asked.split)
    assert [str(one) for one in unused_of(asked, store, split, BOTH)] == [
        "seed, prior_rule do nothing: split.labels is 0, the network stays as it is"
    ]


def test_a_run_tells_it_before_it_begins(store: CaseStore) -> None:
    values = {"store": str(store.path), "encoder": ENCODER, "patch": (8, 8, 8)}
    asked = validate(FinetuneSettings, values | WITH_ONE | {"teacher": {"ramp": 0.1}})
    assert "note: teacher.ramp does nothing: teacher.weight is 0" in check(asked).lines()
