"""Unlabelled patches come from the pool, beside the labelled ones, at the same place of the run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hilum.core.errors import DataError
from hilum.core.settings import validate
from hilum.datasets.splits import Split, make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.ready import data_of, parts_of
from hilum.finetune.semi_supervised.unlabelled import UnlabelledToo, unlabelled_cases
from hilum.finetune.settings import FinetuneSettings


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 1, "validation": 1},
        "trainer": {"steps": 3, "batch_size": 2, "accumulate": 2},
        "teacher": {"weight": 1.0},
    }
    return validate(FinetuneSettings, values | changes)


def test_no_case_of_a_patient_that_validates_or_tests_is_among_them(store: CaseStore) -> None:
    split = make_split(store, settings(store).split)
    found = unlabelled_cases(store, split, ("ct", "pet"))
    assert set(found) == set(store.ids) - {*split.train, *split.validation, *split.test}
    assert len(found) == 2
    assert unlabelled_cases(store, split, ("mr_t1", "pet")) == found
    # A case of a validating patient stays away, even if it is not the one that validates.
    store.rows[found[0]], before = (
        {**store.rows[found[0]], "patient": store.rows[split.validation[0]]["patient"]},
        store.rows[found[0]],
    )
    try:
        assert unlabelled_cases(store, split, ("ct", "pet")) == found[1:]
    finally:
        store.rows[found[0]] = before


def test_a_pool_without_other_cases_is_an_error_with_a_remedy(store: CaseStore) -> None:
    split = Split(("case_0",), ("case_0",), (), ())
    with pytest.raises(DataError, match=r"lower split.labels"):
        unlabelled_cases(store, split, ("ct",))


@pytest.mark.parametrize("validate_on", ["cases", "patches"])
def test_a_resumed_run_sees_the_batches_that_are_left(store: CaseStore, validate_on: str) -> None:
    own = settings(store, validate_on=validate_on)
    module, _ = parts_of(own)
    split = make_split(store, own.split)
    data = data_of(module.segmenter, own, store, split)
    assert isinstance(data, UnlabelledToo)
    batches = list(data.train_dataloader())
    assert len(batches) == len(data.train_dataloader()) == 6
    pool = set(unlabelled_cases(store, split, ("ct", "pet")))
    for batch in batches:
        assert "label" in batch
        assert "label" not in batch["unlabelled"]
        assert set(batch["unlabelled"]["case"]) <= pool
        assert len(batch["unlabelled"]["image"]) == 2
    again = data_of(module.segmenter, own, store, split)
    again.load_state_dict({"done": 1})
    left = list(again.train_dataloader())  # pyright: ignore[reportAttributeAccessIssue]
    assert len(left) == 4
    for one, other in zip(batches[2:], left, strict=True):
        for key in ("image", "seed"):
            assert torch.equal(one[key], other[key])
            assert torch.equal(one["unlabelled"][key], other["unlabelled"][key])


def test_a_run_without_a_teacher_reads_no_unlabelled_case(store: CaseStore) -> None:
    own = settings(store, teacher={})
    split = make_split(store, own.split)
    module, _ = parts_of(own)
    assert module.teacher is None
    assert not isinstance(data_of(module.segmenter, own, store, split), UnlabelledToo)
