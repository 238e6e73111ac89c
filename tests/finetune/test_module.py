"""Encoders and the rest learn at their own rates; validation measures whole cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.core.errors import DataError
from hilum.core.settings import validate
from hilum.datasets.batch import collate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.module import FinetuneModule
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.transfer.rates import factor_at
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter
from hilum.training.optimisation import rate_at

from ..patch_sets import patch_set

Make = Callable[..., SegmenterConfig]
TRAINER = {"steps": 20, "learning_rate": 0.01, "warmup": 0.1, "weight_decay": 0.1}


def settings(**changes: Any) -> FinetuneSettings:
    values = {"store": "none", "patch": (8, 12, 16), "trainer": TRAINER, "pictures": 0}
    return validate(FinetuneSettings, values | changes)


def make(segmenter: Segmenter, store: CaseStore, tmp_path: Path, **changes: Any) -> FinetuneModule:
    return FinetuneModule(segmenter, settings(**changes), store, tmp_path)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 1.0),
        ({"init_from": "encoder"}, 1.0),
        ({"init_from": "encoder", "transfer": {"encoder_rate": 0.1}}, 0.1),
        ({"transfer": {"encoder_rate": 0.5}}, 0.5),
        ({"init_from": "encoder", "transfer": {"rate": 1.0, "encoder_rate": 0.2}}, 0.2),
    ],
)
@pytest.mark.parametrize("fusion", ["early", "late"])
def test_encoders_learn_at_a_share_of_the_decoders_rate(
    fusion: str,
    changes: dict[str, Any],
    factor: float,
    config: Make,
    store: CaseStore,
    tmp_path: Path,
) -> None:
    segmenter = Segmenter(config(fusion={"name": fusion}))
    module = make(segmenter, store, tmp_path, **changes)
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {id(p): group["initial_lr"] for group in groups for p in group["params"]}
    encoders = {id(p) for e in segmenter.encoders.values() for p in e.parameters()}
    for parameter in segmenter.parameters():
        expected = 0.01 * (factor if id(parameter) in encoders else 1.0)
        assert rates.pop(id(parameter)) == pytest.approx(expected)
    assert not rates, "no parameter may be trained twice"


def test_frozen_encoders_start_late_with_a_warmup_of_their_own() -> None:
    trainer = settings().trainer
    for step in range(20):
        assert factor_at(step, 0, trainer) == rate_at(step, 20, 0.1, "cosine")
    later = [factor_at(step, 10, trainer) for step in range(20)]
    assert later[:10] == [0.0] * 10
    assert later[10] == pytest.approx(0.5 * rate_at(10, 20, 0.1, "cosine"))
    assert later[11:] == [rate_at(step, 20, 0.1, "cosine") for step in range(11, 20)]


def test_the_schedule_gives_each_group_its_own_factor(
    config: Make, store: CaseStore, tmp_path: Path
) -> None:
    module = make(
        Segmenter(config()),
        store,
        tmp_path,
        init_from="encoder",
        transfer={"decoder_first": 0.5},
    )
    configured = module.configure_optimizers()
    optimiser, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    seen: dict[str, list[float]] = {"encoder": [], "decoder": []}
    for _ in range(20):
        for name in seen:
            seen[name].append(next(g["lr"] for g in optimiser.param_groups if g["name"] == name))
        optimiser.step()
        schedule.step()
    trainer = module.settings.trainer
    assert seen["decoder"] == pytest.approx([0.01 * factor_at(s, 0, trainer) for s in range(20)])
    assert seen["encoder"] == pytest.approx([0.01 * factor_at(s, 10, trainer) for s in range(20)])


def test_a_step_reaches_every_parameter(config: Make, store: CaseStore, tmp_path: Path) -> None:
    module = make(Segmenter(config(fusion={"name": "late"})), store, tmp_path)
    module.log_dict = lambda *args, **kwargs: None  # pyright: ignore[reportAttributeAccessIssue]
    shape = module.augmentation.read_shape()
    data = patch_set(store, ["case_0", "case_1"], shape, 2, 0, inner=(8, 12, 16), foreground=1)
    loss = module.training_step(collate([data[0], data[1]]), 0)
    loss.backward()
    silent = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []


def test_validation_is_the_mean_dice_of_whole_cases(
    threshold: Segmenter, store: CaseStore, tmp_path: Path
) -> None:
    module = make(threshold, store, tmp_path)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **more: logged.update({name: value})  # pyright: ignore[reportAttributeAccessIssue]
    ids = ["case_0", "case_3", "case_5"]
    for number, name in enumerate(ids):
        module.validation_step({"case": [name]}, number)
    module.on_validation_epoch_end()
    expected = []
    for name in ids:
        case = store[name]
        values = np.asarray(case.images[-1], float)
        mask = values > (4 if "pet" in case.modalities else 55)
        truth = np.asarray(case.label) == 1
        expected.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert logged["val/dice"] == pytest.approx(np.mean(expected))
    assert expected[0] == 1, "the phantom's PET shows the node exactly"


def test_patches_of_one_case_are_counted_together(
    threshold: Segmenter, store: CaseStore, tmp_path: Path
) -> None:
    module = make(threshold, store, tmp_path)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **more: logged.update({name: value})  # pyright: ignore[reportAttributeAccessIssue]
    data = patch_set(store, ["case_0", "case_1"], (8, 12, 16), 6, 0)
    module.validation_step(collate([data[i] for i in range(6)]), 0)
    assert set(module._counts.cases) == {"case_0", "case_1"}
    module.on_validation_epoch_end()
    assert logged["val/dice"] == 1
    assert module._counts.cases == {}


def test_a_case_without_nodes_counts_one_only_if_nothing_is_predicted(
    threshold: Segmenter, store: CaseStore, tmp_path: Path
) -> None:
    module = make(threshold, store, tmp_path)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **more: logged.update({name: value})  # pyright: ignore[reportAttributeAccessIssue]
    nothing, node = np.zeros((2, 3, 4), np.uint8), np.ones((2, 3, 4), np.uint8)
    unknown = np.full((2, 3, 4), 255, np.uint8)
    module._counts.add("quiet", nothing, nothing)
    module._counts.add("false alarm", node, nothing)
    module._counts.add("never read", node, unknown)
    module.on_validation_epoch_end()
    assert logged["val/dice"] == pytest.approx(1 / 2), "of the case never read nothing is known"


def test_a_reference_of_which_nothing_is_known_chooses_no_weights(
    threshold: Segmenter, store: CaseStore, tmp_path: Path
) -> None:
    module = make(threshold, store, tmp_path)
    nothing = np.zeros((2, 3, 4), np.uint8)
    module._counts.add("a", nothing, np.full_like(nothing, 255))
    with pytest.raises(DataError, match=r"validation case must have a node.*in a; validate on"):
        module.on_validation_epoch_end()


def test_each_class_has_its_dice(
    threshold: Segmenter, store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = make(threshold, store, tmp_path)
    monkeypatch.setattr(module._counts, "classes", 3)
    logged: dict[str, float] = {}
    module.log = lambda name, value, **more: logged.update({name: value})  # pyright: ignore[reportAttributeAccessIssue]
    ours, truth = np.zeros((2, 1, 1, 8), np.uint8)
    ours[..., :4], truth[..., :4] = 1, 1
    ours[..., 4:6], truth[..., 4:8] = 1, 2
    module._counts.add("a", ours, truth)
    module.on_validation_epoch_end()
    assert logged["val/dice_class1"] == pytest.approx(8 / 10)
    assert logged["val/dice_class2"] == 0
    assert logged["val/dice"] == pytest.approx(4 / 10)


def test_what_a_fusion_strategy_asks_for_is_part_of_the_loss_and_logged(
    config: Make, store: CaseStore, tmp_path: Path
) -> None:
    found = {}
    for weight in (0.0, 0.5):
        torch.manual_seed(0)
        fusion = {"name": "variational", "weight": weight}
        module = make(Segmenter(config(fusion=fusion)), store, tmp_path)
        logged: dict[str, Any] = {}
        module.log_dict = lambda named, into=logged, **more: into.update(named)  # pyright: ignore[reportAttributeAccessIssue]
        shape = module.augmentation.read_shape()
        data = patch_set(store, ["case_0", "case_1"], shape, 2, 0, inner=(8, 12, 16))
        torch.manual_seed(1)
        loss = module.training_step(collate([data[0], data[1]]), 0)
        loss.backward()
        found[weight] = float(loss.detach()), logged
    assert "train/divergence" not in found[0.0][1]
    divergence = found[0.5][1]["train/divergence"]
    assert divergence > 0
    assert found[0.5][0] == pytest.approx(found[0.0][0] + float(divergence), rel=1e-5)
    experts = dict(module.segmenter.strategy.named_parameters())
    assert experts["experts.pet_0.weight"].grad is not None
