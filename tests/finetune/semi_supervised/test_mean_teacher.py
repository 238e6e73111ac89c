"""The teacher follows the student, sees the same patch unchanged, and survives a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import Stopped
from hilum.core.settings import validate
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.batch import Batch, collate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised.mean_teacher import (
    MeanTeacher,
    disagreement,
    rise,
    without_intensity,
)
from hilum.finetune.semi_supervised.settings import TeacherSettings
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ...patch_sets import patch_set

Make = Callable[..., SegmenterConfig]
PATCH = (8, 12, 16)
TRAINER = {
    "steps": 4,
    "batch_size": 1,
    "validate_every": 2,
    "save_every": 1,
    "log_every": 1,
    "ema": 0.5,
    "precision": "32",
    "tracking": {"mode": "disabled"},
}


def teacher(segmenter: Segmenter, augmentation: AugmentationSettings, **changes: float) -> Any:
    settings = validate(TeacherSettings, {"weight": 2.0, "ramp": 0.5, **changes})
    return MeanTeacher(segmenter, settings, augmentation, PATCH)


def patches(store: CaseStore, made: MeanTeacher, first: int = 0) -> Batch:
    data = patch_set(
        store, store.ids[:3], made.strong.read_shape(), 40, 0, labelled=False, inner=PATCH
    )
    return collate([data[first], data[first + 1]], torch.float16)


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": PATCH,
        "split": {"labels": 1, "validation": 1},
        "trainer": TRAINER,
        "validate_on": "patches",
        "teacher": {"weight": 1.0, "ramp": 0.5, "decay": 0.5},
        "pictures": 0,
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values | changes)


def test_both_views_are_moved_alike_and_the_teachers_is_not_changed(
    config: Make, store: CaseStore
) -> None:
    loud = validate(
        AugmentationSettings,
        {
            "suv_scale": {"p": 1.0, "low": 1.2, "high": 1.25},
            "contrast": {"p": 1.0},
            "noise": {"p": 1.0, "low": 0.05},
            "dropout": 0.9,
            "misalign_p": 0.5,
            "rotation": {"p": 1.0},
        },
    )
    made = teacher(Segmenter(config()), loud)
    moves = teacher(
        Segmenter(config()), AugmentationSettings.spatial(misalign_p=0.5, rotation={"p": 1.0})
    )
    hidden = 0
    for first in range(0, 8, 2):
        batch = patches(store, made, first)
        ours, theirs, plain = made.strong(batch), made.weak(batch), moves.strong(batch)
        assert torch.equal(ours["regions"], theirs["regions"])
        assert torch.equal(ours["shift"], theirs["shift"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
        assert torch.equal(theirs["image"], plain["image"])
        assert torch.equal(theirs["available"], batch["available"])
        assert not torch.equal(ours["image"], theirs["image"])
        hidden += int((ours["available"] != theirs["available"]).sum())
    assert hidden


def test_a_teacher_that_sees_the_same_has_nothing_to_say(config: Make, store: CaseStore) -> None:
    student = Segmenter(config())
    made = teacher(student, AugmentationSettings.spatial())
    batch = patches(store, made)
    assert float(made.loss(student.eval(), batch, 1.0).detach()) == 0
    with torch.no_grad():
        for parameter in student.parameters():
            parameter += 0.05
    early, late = (made.loss(student, batch, t).detach() for t in (0.25, 0.9))
    assert float(early / late) == pytest.approx(rise(0.25, 0.5))


def test_only_the_student_has_a_gradient(config: Make, store: CaseStore) -> None:
    student = Segmenter(config())
    made = teacher(student, validate(AugmentationSettings, {"suv_scale": {"p": 1.0, "low": 1.2}}))
    made.loss(student, patches(store, made), 1.0).backward()
    assert any(p.grad is not None and p.grad.any() for p in student.parameters())
    assert all(p.grad is None for p in made.network.parameters())


def test_the_teacher_is_the_moving_average_of_the_student(config: Make) -> None:
    student = Segmenter(config())
    made = teacher(student, AugmentationSettings.none(), decay=0.3)
    expected = {name: p.detach().clone() for name, p in student.named_parameters()}
    for step in range(1, 6):
        keep = min(0.3, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, p in student.named_parameters():
                p += torch.randn(p.shape, generator=torch.Generator().manual_seed(step))
                expected[name] = keep * expected[name] + (1 - keep) * p
        made.follow(student, step)
    for name, p in made.network.named_parameters():
        assert_close(p, expected[name])


def test_the_disagreement_is_the_mean_square_over_voxels_that_count() -> None:
    generator = torch.Generator().manual_seed(0)
    said, taught = torch.randn(2, 2, 3, 3, 4, 5, generator=generator).unbind(0)
    where = torch.rand(2, 1, 3, 4, 5, generator=generator) < 0.5
    taught[~where.expand_as(taught)] = float("nan")
    said.requires_grad_()
    value = disagreement(said, taught, where)
    value.backward()
    total = 0.0
    for case, d, h, w in torch.nonzero(where[:, 0]).tolist():
        p, q = (x[case, :, d, h, w].detach().softmax(0) for x in (said, taught))
        total += float((p - q).square().mean())
    assert float(value.detach()) == pytest.approx(total / int(where.sum()))
    assert said.grad is not None
    assert (said.grad[~where.expand_as(said)] == 0).all()
    assert float(disagreement(said.detach(), taught, torch.zeros_like(where))) == 0


def test_without_intensity_keeps_what_moves() -> None:
    full = validate(AugmentationSettings, {"scale": {"p": 0.9}, "misalign_p": 0.7})
    weak = without_intensity(full)
    assert weak.scale == full.scale
    assert weak.rotation == full.rotation
    assert weak.misalign_p == 0.7
    assert weak == AugmentationSettings.spatial(scale={"p": 0.9}, misalign_p=0.7)


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_its_teacher_to_the_same_bits(
    store: CaseStore, tmp_path: Path
) -> None:
    own = settings(store)
    whole = finetune(own, tmp_path / "whole", say=lambda text: None)
    from hilum.finetune import module as module_file

    step = module_file.FinetuneModule.training_step

    def stopping(self: Any, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.trainer.global_step == 2:
            raise Stopped("a test")
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_file.FinetuneModule, "training_step", stopping)
        with pytest.raises(Stopped):
            finetune(own, tmp_path / "cut", say=lambda text: None)
    again = finetune(own, tmp_path / "cut", say=lambda text: None)
    ends = [
        torch.load(f.parent / "checkpoints" / "last.ckpt", weights_only=True)
        for f in (whole, again)
    ]
    for key in ("teacher", "state_dict"):
        assert ends[0][key].keys() == ends[1][key].keys()
        for name, value in ends[0][key].items():
            assert torch.equal(value, ends[1][key][name]), name
    teacher_weights = ends[0]["teacher"]
    assert any(
        not torch.equal(value, ends[0]["state_dict"][f"segmenter.{name}"])
        for name, value in teacher_weights.items()
    )
    rows = (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert "train/consistency" in rows
