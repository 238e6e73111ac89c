"""Modalities are hidden on schedule, never all of them, and a subset learns from the whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.modality_dropout import MissingSettings, chance, hide, lesson
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings


def test_the_chance_rises_after_a_start() -> None:
    rule = validate(MissingSettings, {"dropout": 0.5, "start": 0.2, "ramp": 0.4})
    found = [chance(rule, step, 10) for step in range(10)]
    assert found == pytest.approx([0, 0, 0, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5, 0.5])
    assert chance(validate(MissingSettings, {"dropout": 0.3}), 0, 10) == 0.3


def test_what_is_hidden_was_there_and_something_stays() -> None:
    available = torch.tensor([[True, True, False], [False, True, False], [True, True, True]])
    available = available.repeat(2000, 1)
    hidden = hide(available, 0.5, torch_generator(0, "x"))
    assert not (hidden & ~available).any()
    assert hidden.any(1).all()
    # Of two, both would go in a quarter of the cases; then either stays.
    first = hidden[::3, 0].float().mean()
    assert abs(float(first) - (0.5 + 0.125)) < 0.03
    assert hidden[1::3, 1].all(), "a lone modality stays"


def test_without_a_chance_nothing_is_hidden() -> None:
    available = torch.tensor([[True, False], [True, True]])
    assert hide(available, 0.0, torch_generator(0, "x")).equal(available)


def test_the_lesson_is_the_divergence_by_hand() -> None:
    torch.manual_seed(0)
    full = torch.randn(2, 3, 2, 2, 2, requires_grad=True)
    partial = torch.randn(2, 3, 2, 2, 2, requires_grad=True)
    label = torch.zeros(2, 1, 2, 2, 2, dtype=torch.uint8)
    label[0, 0, 0] = 255
    found = lesson(full, partial, label, 2.0)
    total, count = 0.0, 0
    for row in range(2):
        for index in range(8):
            d, h, w = index // 4, index // 2 % 2, index % 2
            if label[row, 0, d, h, w] == 255:
                continue
            p = (full[row, :, d, h, w] / 2).softmax(0)
            q = (partial[row, :, d, h, w] / 2).softmax(0)
            total, count = total + float((p * (p / q).log()).sum().detach()), count + 1
    assert_close(found, torch.tensor(4 * total / count))
    found.backward()
    assert full.grad is None
    assert partial.grad is not None
    assert (partial.grad[0, :, 0] == 0).all()
    assert (partial.grad[1] != 0).any()


def test_unknown_voxels_may_be_anything() -> None:
    full = torch.full((1, 2, 1, 1, 2), torch.nan)
    partial = torch.full((1, 2, 1, 1, 2), torch.nan)
    label = torch.full((1, 1, 1, 1, 2), 255, dtype=torch.uint8)
    assert float(lesson(full, partial, label, 1.0)) == 0


@pytest.mark.slow
def test_a_run_hides_modalities_and_teaches_the_subset(store: CaseStore, tmp_path: Path) -> None:
    settings = validate(
        FinetuneSettings,
        {
            "store": str(store.path),
            "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
            "patch": (8, 12, 16),
            "split": {"labels": 2, "validation": 0},
            "missing": {"dropout": 0.9, "start": 0.5, "distillation": 0.5},
            "trainer": {
                "steps": 4,
                "log_every": 1,
                "precision": "32",
                "tracking": {"mode": "disabled"},
            },
            "evaluate_test": False,
        },
    )
    finetune(settings, tmp_path / "run", say=lambda text: None)
    text = (tmp_path / "run" / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    steps = {row["step"] for row in rows if "train/lesson" in row}
    assert steps == {3, 4}, "from half of the run on"
