"""Nodes pasted while fine-tuning: what changes, what does not, and how a run is wired."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from hilum.core.errors import SettingsError
from hilum.core.modality import modality
from hilum.core.seeds import torch_generator
from hilum.core.settings import validate
from hilum.core.types import IGNORE
from hilum.datasets.batch import Batch
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.learned_from import learned_from
from hilum.finetune.module import FinetuneModule
from hilum.finetune.ready import data_of, parts_of
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised.unlabelled import UnlabelledToo
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.synthetic_nodes import NodePasting, SyntheticSettings

SIDES = (20, 24, 24)
SPACING = (4.0, 4.0, 4.0)
RECIPE = {"nodes": 3, "decoys": 1, "short_mm": [8, 16], "long_mm": 30}


def batch(labelled: bool = True, count: int = 2, hot: bool = False) -> Batch:
    """Return patches of fat around a muscle, with a labelled node in a corner."""
    ct, pet = torch.full(SIDES, -100.0), torch.full(SIDES, 1.0)
    ct[:, 8:16, 8:16] = 50
    ct[:5, :5, :5], pet[:5, :5, :5] = 45, 9.0 if hot else 1.0
    image = torch.stack([modality("ct").encode(ct), modality("pet").encode(pet)])
    made: dict[str, Any] = {
        "image": image.repeat(count, 1, 1, 1, 1),
        "available": torch.ones(count, 2, dtype=torch.bool),
        "regions": torch.full((count, 1, *SIDES), 7, dtype=torch.uint8),
        "case": [f"case_{k}" for k in range(count)],
        "seed": torch.arange(count),
        "augmented": True,
    }
    if labelled:
        label = torch.zeros(count, 1, *SIDES, dtype=torch.uint8)
        label[:, :, :5, :5, :5] = 1
        made["label"] = label
    return cast(Batch, made)


def pasting(classes: int = 2, **changes: Any) -> NodePasting:
    settings = validate(SyntheticSettings, {"recipe": RECIPE, **changes})
    return NodePasting(settings, ("ct", "pet"), SPACING, SIDES, classes)


def label_of(given: Batch) -> Tensor:
    return cast(Tensor, given.get("label"))


def test_nodes_are_added_to_the_label_and_the_rest_of_it_stays() -> None:
    given, added = batch(), 0
    for seed in range(4):
        found = pasting(p=1.0)(given, None, torch_generator(seed, "x"))
        before, after = label_of(given), label_of(found)
        new = after != before
        added += int(new.sum())
        assert (after[new] == 1).all()
        assert (after[before == 1] == 1).all()
        assert (found["image"] != given["image"]).any(1, keepdim=True)[new].all()
    assert added > 30
    assert (label_of(batch()) == label_of(given)).all(), "the batch that was given is not changed"


def test_a_labelled_node_that_is_erased_becomes_unknown_and_never_background() -> None:
    given, lost = batch(hot=True), 0
    for seed in range(6):
        found = pasting(p=1.0)(given, None, torch_generator(seed, "x"))
        after = label_of(found)[label_of(given) == 1]
        assert set(after.unique().tolist()) <= {1, IGNORE}
        lost += int((after == IGNORE).sum())
    assert lost > 0


def test_a_probability_of_0_and_1_and_between() -> None:
    given = batch(count=16)
    changed = {}
    for p in (0.0, 0.3, 1.0):
        found = pasting(p=p, replay=0.1)(given, None, torch_generator(1, "x"))
        changed[p] = int((found["image"] != given["image"]).flatten(1).any(1).sum())
    assert changed[0.0] == 0
    assert changed[0.0] < changed[0.3] < changed[1.0]
    assert changed[1.0] >= 14


@pytest.mark.parametrize(
    ("replay", "size", "count"), [(0.5, 2, 2), (0.5, 5, 5), (0.33, 4, 2), (0.01, 2, 1), (0.0, 2, 0)]
)
def test_replayed_patches_are_the_fraction_that_was_asked_for(
    replay: float, size: int, count: int
) -> None:
    settings = validate(SyntheticSettings, {"replay": replay})
    assert settings.replayed(size) == count
    if replay and size * replay >= 1:
        assert count / (count + size) == pytest.approx(replay, abs=0.1)


def test_unlabelled_patches_come_last_with_the_label_of_the_pretext_task() -> None:
    given, other = batch(), batch(labelled=False, count=3, hot=True)
    found = pasting(classes=4, replay=0.5, label=3)(given, other, torch_generator(0, "x"))
    assert found["case"] == ["case_0", "case_1", "case_0", "case_1"]
    assert torch.equal(found["image"][:2], given["image"])
    assert torch.equal(label_of(found)[:2], label_of(given))
    replayed = label_of(found)[2:]
    assert set(replayed.unique().tolist()) == {0, 3, IGNORE}
    # Uptake that nobody labelled is unknown unless it was erased or covered: one voxel around.
    assert (replayed[:, :, 6:, 6:, 6:] != IGNORE).all()
    assert len(found["available"]) == len(found["regions"]) == len(found["seed"]) == 4
    assert "label" not in other


@pytest.mark.parametrize(
    ("unpasted", "least", "most"), [(0.0, 0, 0), (0.5, 0.25, 0.75), (1.0, 1, 1)]
)
def test_what_was_not_pasted_is_background_in_as_many_replayed_patches_as_asked(
    unpasted: float, least: float, most: float
) -> None:
    given, other = batch(count=32), batch(labelled=False, count=32, hot=True)
    kept = pasting(replay=0.5)(given, other, torch_generator(3, "x"))
    found = pasting(replay=0.5, unpasted=unpasted)(given, other, torch_generator(3, "x"))
    assert torch.equal(found["image"], kept["image"])
    assert torch.equal(label_of(found)[:32], label_of(given))
    before, after = label_of(kept)[32:], label_of(found)[32:]
    known = before != IGNORE
    assert torch.equal(after[known], before[known])
    assert set(after[~known].unique().tolist()) <= {0, IGNORE}
    hidden, left = ((label == IGNORE).flatten(1).any(1) for label in (before, after))
    assert hidden.sum() >= 24
    assert least <= 1 - left.sum() / hidden.sum() <= most


def test_it_is_drawn_from_the_generator_alone() -> None:
    given, other = batch(), batch(labelled=False)
    one, two, three = (
        pasting(p=0.7, replay=0.5)(given, other, torch_generator(seed, "x")) for seed in (0, 0, 1)
    )
    assert torch.equal(one["image"], two["image"])
    assert torch.equal(label_of(one), label_of(two))
    assert not torch.equal(one["image"], three["image"])


def test_nothing_is_read_on_the_host() -> None:
    """A value that Python reads has no fake tensor."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        made = pasting(p=0.5, replay=0.5)
        found = made(batch(), batch(labelled=False), torch.Generator())
    assert found["image"].shape == (4, 2, *SIDES)


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (12, 12, 16),
        "split": {"labels": 1, "validation": 1},
        "trainer": {
            "steps": 2,
            "batch_size": 2,
            "precision": "32",
            "log_every": 1,
            "tracking": {"mode": "disabled"},
        },
        "validate_on": "patches",
        "synthetic": {"p": 0.5, "replay": 0.34, "recipe": RECIPE},
        "pictures": 0,
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values | changes)


def test_a_run_pastes_and_replays_in_every_step(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, sizes, seeds = settings(store), [], []
    loss, call = FinetuneModule._loss, NodePasting.__call__

    def seen(self: Any, given: Batch, batch_idx: int) -> Any:
        sizes.append(len(given["image"]))
        return loss(self, given, batch_idx)

    def drawn(self: Any, given: Batch, more: Any, generator: torch.Generator) -> Batch:
        seeds.append(generator.initial_seed())
        assert more is not None
        assert more.get("augmented")
        return call(self, given, more, generator)

    monkeypatch.setattr(FinetuneModule, "_loss", seen)
    monkeypatch.setattr(NodePasting, "__call__", drawn)
    finetune(own, tmp_path / "run", say=lambda text: None)
    assert sizes == [3, 3], "two labelled patches and one replayed"
    assert len(set(seeds)) == 2
    split = make_split(store, own.split)
    assert (
        learned_from(own, store, split)[0]
        != learned_from(settings(store, synthetic={"p": 0.5, "recipe": RECIPE}), store, split)[0]
    ), "the pool was seen"


def test_without_replay_no_unlabelled_patch_is_read(store: CaseStore) -> None:
    for synthetic, kind in (({"p": 0.5}, False), ({"replay": 0.5}, True)):
        own = settings(store, synthetic={**synthetic, "recipe": RECIPE})
        module, _ = parts_of(own)
        data = data_of(module.segmenter, own, store, make_split(store, own.split))
        assert isinstance(data, UnlabelledToo) is kind


def test_off_by_default(store: CaseStore) -> None:
    assert not validate(SyntheticSettings, {}).on
    assert parts_of(settings(store, synthetic={}))[0].pasting is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"synthetic": {"p": 1.5}}, "synthetic.p"),
        ({"synthetic": {"replay": 0.7}}, "synthetic.replay"),
        ({"synthetic": {"p": 0.5}, "loss": {"name": "cc"}}, "set loss.name=dice_ce"),
        (
            {"synthetic": {"replay": 0.5}, "organs": {"numbers": [1]}},
            "synthetic.replay to 0, or leave organs.numbers empty",
        ),
    ],
)
def test_bad_settings_are_named(store: CaseStore, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settings(store, **changes)


@pytest.mark.parametrize(
    ("synthetic", "words"),
    [
        ({"p": 1, "label": 2}, "synthetic.label must be a class"),
        ({"p": 1, "recipe": {"short_m": 3}}, "unknown setting, did you mean 'short_mm'"),
        ({"p": 1, "recipe": {"short_mm": [4, 7]}}, "two voxels wide.*synthetic.recipe.short_mm"),
        ({"p": 1, "recipe": {"short_mm": [8, 90], "long_mm": 99}}, "lower synthetic.recipe"),
        ({"p": 1, "recipe": {"family": "bax"}}, "family.*'real', 'box' or 'spiculated'"),
    ],
)
def test_what_cannot_be_pasted_is_an_error(synthetic: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        NodePasting(validate(SyntheticSettings, synthetic), ("ct", "pet"), SPACING, SIDES, 2)


def test_a_z_score_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"window scale.*set scale to window"):
        NodePasting(validate(SyntheticSettings, {"p": 1}), ("ct",), SPACING, SIDES, 2, ("ct",))
