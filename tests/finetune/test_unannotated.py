"""Not every case was labelled for every class: those that nobody looked for are never punished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, write_volume
from hilum.datasets.manifest import read_manifest, write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.index import complete
from hilum.finetune.ready import parts_of
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.unannotated import marginal
from hilum.losses import LOSSES
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.segmenter.baseline.limits import best_limit, dice_at_limits


def test_classes_that_were_not_looked_for_are_background_and_the_others_keep_their_share() -> None:
    logits = 4 * torch.randn((2, 4, 3, 4, 5), generator=torch.Generator().manual_seed(0))
    annotated = torch.tensor([[True, True, False, True], [True, True, True, True]])
    before, after = logits.softmax(1), marginal(logits, annotated).softmax(1)
    assert_close(after[0, 0], before[0, 0] + before[0, 2])
    assert_close(after[0, [1, 3]], before[0, [1, 3]])
    assert not after[0, 2].any()
    assert_close(after[1], before[1])


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_no_loss_tells_background_from_a_class_that_was_not_looked_for(name: str) -> None:
    """Moving probability from the background to that class changes nothing."""
    loss = build(LOSSES, {"name": name}, spacing=(1, 1, 1))
    label = torch.zeros((1, 1, 8, 8, 8), dtype=torch.uint8)
    label[0, 0, 2:5, 2:5, 2:5] = 1
    logits = torch.randn((1, 3, 8, 8, 8), generator=torch.Generator().manual_seed(1))
    annotated = torch.tensor([[True, True, False]])
    maps = loss.maps(label, 3) if loss.mapped else None
    more = () if maps is None else (_maps(maps),)
    found = []
    for shift in (0.0, 2.0):
        moved = logits.clone()
        share = logits[:, [0, 2]].logsumexp(1)
        moved[:, 2] += shift
        moved[:, [0, 2]] += (share - moved[:, [0, 2]].logsumexp(1))[:, None]
        found.append(loss([marginal(moved, annotated)], label, *more)[0])
    assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    changed = logits.clone().requires_grad_()
    loss([marginal(changed, annotated)], label, *more)[0].backward()
    assert changed.grad is not None
    assert changed.grad.isfinite().all()


def _maps(found: Any) -> Any:
    from hilum.losses.base import Maps

    return Maps(*found)


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    trainer = {"steps": 2, "batch_size": 2, "validate_every": 2, "precision": "32"}
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 3, "validation": 1},
        "trainer": trainer | {"tracking": {"mode": "disabled"}},
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
    }
    return validate(FinetuneSettings, values | changes)


def test_the_manifest_and_the_store_keep_what_was_looked_for(
    two: Path, store_of_two: CaseStore
) -> None:
    assert [case.annotated for case in read_manifest(two)] == [(), (1,), (2,), (), (2,), ()]
    assert store_of_two["case_1"].annotated == (1,)
    assert [complete(store_of_two, f"case_{n}") for n in range(4)] == [True, False, False, True]


def test_patches_say_it_and_a_step_learns_nothing_of_what_was_not_looked_for(
    store_of_two: CaseStore,
) -> None:
    module, data = parts_of(settings(store_of_two))
    seen = set()
    batches: Any = data.train_dataloader()
    for batch in batches:
        for name, row in zip(batch["case"], batch["annotated"].tolist(), strict=True):
            drawn = store_of_two[name].annotated
            assert row == [True, not drawn or 1 in drawn, not drawn or 2 in drawn]
            seen.add(tuple(row))
        one = dict(batch) | {"annotated": torch.tensor([[True, True, False]] * 2)}
        one["label"] = torch.where(batch["label"] == 2, 0, batch["label"])
        segmenter = module.segmenter
        segmenter.zero_grad()
        module._supervised(one, batch["available"])[1].backward()  # pyright: ignore
        bias = segmenter.decoders["decoder"].head_rows()[0]["heads.1.bias"].grad
        assert bias is not None
        background, known, hidden = bias.tolist()
        assert abs(known) > 0
        # Pushed the same way, by their shares: nothing is said of which of the two it is.
        assert 0 < hidden / background < 1
    assert len(seen) > 1


def test_a_run_measures_each_class_where_it_was_looked_for(
    store_of_two: CaseStore, tmp_path: Path
) -> None:
    from hilum.core.files import read_json

    finetune(settings(store_of_two), tmp_path / "run", say=lambda text: None)
    found = read_json(tmp_path / "run" / "test" / "metrics.json")["ct+pet"]
    partly, whole = (found[name]["metrics"] for name in ("case_4", "case_5"))
    assert partly["dice"] is None or np.isnan(partly["dice"])
    assert partly["lesion_fp"] == 0
    assert partly["dice_class2"] == partly["dice_class2"]
    assert whole["dice"] == whole["dice"]


def test_masks_of_others_are_measured_so_too(two: Path, tmp_path: Path) -> None:
    """A prediction of every class, perfect where known: nothing it adds is wrong."""
    masks = tmp_path / "masks"
    for case in read_manifest(two):
        assert case.label is not None
        volume = read_label(case.label, case.id)
        label = volume.array.astype(np.uint8)
        other = 3 - case.annotated[0] if case.annotated else 0
        if other:
            label[:2] = other
        write_volume(masks / f"{case.id}.nii.gz", label, volume.grid)
    found = evaluate(masks, two, tmp_path / "out")
    assert sorted(found.cases[1]) == ["case_0", "case_1", "case_3", "case_5"]
    assert sorted(found.cases[2]) == ["case_0", "case_2", "case_3", "case_4", "case_5"]
    for value in (1, 2):
        assert all(m["dice"] == 1 and m["lesion_fp"] == 0 for m in found.cases[value].values())


def test_a_limit_of_uptake_is_chosen_where_all_that_it_is_for_was_looked_for(
    store_of_two: CaseStore,
) -> None:
    cases = ["case_0", "case_1", "case_2", "case_3"]
    assert best_limit(store_of_two, cases)[2] == 2
    assert best_limit(store_of_two, cases, [1])[2] == 3
    assert dice_at_limits(store_of_two["case_2"], [2.0], [1]) is None


@pytest.mark.parametrize(
    ("column", "message"), [("0", "numbers of classes"), ("x", "numbers of classes")]
)
def test_what_was_looked_for_is_numbers_of_classes(
    two: Path, tmp_path: Path, column: str, message: str
) -> None:
    text = "case,ct,label,annotated\na,ct.nii.gz,l.nii.gz," + column
    (tmp_path / "m.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_manifest(tmp_path / "m.csv")
    (tmp_path / "n.csv").write_text("case,ct,label,annotated\na,ct.nii.gz,,1", encoding="utf-8")
    with pytest.raises(DataError, match="annotated needs a label"):
        read_manifest(tmp_path / "n.csv")


def test_a_label_holds_nothing_that_was_not_looked_for(two: Path, tmp_path: Path) -> None:
    cases = read_manifest(two)
    wrong = write_manifest(
        tmp_path / "manifest.csv",
        [Case(c.id, c.patient, c.volumes, c.label, "", c.split, annotated=(1,)) for c in cases[:1]],
    )
    asked = validate(PrepareSettings, {"spacing": (4, 4, 4)})
    with pytest.raises(DataError, match="only the classes that it was annotated for"):
        prepare(wrong, tmp_path / "store", asked)
