"""A segmenter that begins as a rule is the rule, whatever the strategy, until it learns better."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.modality import modality
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.exchange.networks_out.exporting import export
from hilum.fusion import STRATEGIES
from hilum.segmenter.averaging import average
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.ensemble import Ensemble
from hilum.segmenter.inference.predict_case import predict_case, predict_mask
from hilum.segmenter.operating.point import OperatingPoint
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]
SIDES = (8, 12, 16)


def pair(cases: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Return HU and SUV of some cases, and both as a network sees them."""
    generator = torch.Generator().manual_seed(3)
    ct = torch.rand((cases, *SIDES), generator=generator) * 400 - 160
    pet = torch.rand((cases, *SIDES), generator=generator) ** 2 * 12
    image = torch.stack([modality("ct").encode(ct), modality("pet").encode(pet)], 1)
    return ct, pet, image


def both(cases: int = 2) -> Tensor:
    return torch.ones(cases, 2, dtype=torch.bool)


def make(config: Make, fusion: str = "early", **changes: Any) -> Segmenter:
    rule = changes.pop("rule", {"limit": 2.5})
    cls = STRATEGIES[fusion]
    parameters = {**cls.small, **({"modality": "pet"} if fusion == "single" else {})}
    torch.manual_seed(1)
    made = config(fusion={"name": fusion, **parameters}, prior_rule=rule, **changes)
    return Segmenter(made).eval()


def expected(uptake: np.ndarray, limit: float, slope: float, classes: int) -> np.ndarray:
    """Return probabilities of the rule; `uptake` is log(1 + SUV)."""
    odds = np.exp(slope * (uptake - math.log1p(limit)))
    every = np.stack([np.ones_like(odds), *[odds] * (classes - 1)], 1)
    return every / every.sum(1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("fusion", sorted(STRATEGIES))
def test_untrained_it_is_the_rule_at_every_level(fusion: str, classes: int, config: Make) -> None:
    segmenter = make(config, fusion, classes=classes)
    _, pet, image = pair()
    levels = segmenter(image, both())
    assert len(levels) > 1
    uptake = np.log1p(pet.numpy().astype(float))
    for level in levels:
        sides = level.shape[2:]
        f = [whole // part for whole, part in zip(SIDES, sides, strict=True)]
        d, h, w = sides
        mean = uptake.reshape(2, d, f[0], h, f[1], w, f[2]).mean((2, 4, 6))
        wanted = torch.from_numpy(expected(mean, 2.5, 4.5, classes)).float()
        assert_close(level.detach().softmax(1), wanted, rtol=1e-4, atol=1e-5)
    mask = levels[0].argmax(1) > 0
    assert torch.equal(mask, pet > 2.5), "the mask is the threshold"


@pytest.mark.parametrize("fusion", sorted(set(STRATEGIES) - {"single"}))
def test_without_pet_it_starts_at_the_prior_and_nothing_stored_there_matters(
    fusion: str, config: Make
) -> None:
    segmenter = make(config, fusion, prior=0.02)
    _, _, image = pair()
    image[1, 1] = math.nan
    available = torch.tensor([[True, True], [True, False]])
    logits = segmenter(image, available)[0]
    assert_close(logits[1].softmax(0)[1], torch.full(SIDES, 0.02), rtol=1e-4, atol=1e-6)
    alone = segmenter(image[:1], available[:1])[0]
    assert_close(logits[:1], alone)
    logits.square().mean().backward()
    for name, parameter in segmenter.named_parameters():
        if parameter.grad is not None:
            assert parameter.grad.isfinite().all(), name


def test_outside_of_the_soft_tissue_uptake_counts_as_none(config: Make) -> None:
    segmenter = make(config, rule={"limit": 2, "soft_tissue": (-60, 120)})
    ct, pet, image = pair()
    inside = (ct >= -60) & (ct <= 120)
    found = segmenter(image, both())[0].argmax(1) > 0
    assert torch.equal(found, inside & (pet > 2))
    without_ct = torch.tensor([[False, True]] * 2)
    image[:, 0] = math.nan
    assert torch.equal(segmenter(image, without_ct)[0].argmax(1) > 0, pet > 2)


def test_only_the_classes_that_are_named_begin_as_the_rule(config: Make) -> None:
    names = ("organ", "node")
    segmenter = make(
        config, classes=3, names=names, prior=0.01, rule={"limit": 2, "classes": ("node",)}
    )
    _, pet, image = pair()
    logits = segmenter(image, both())[0]
    assert_close(logits[:, 1], torch.full_like(pet, math.log(0.01 / 0.98)))
    assert torch.equal(logits.argmax(1) == 2, pet > 2)


def test_with_organs_the_classes_are_the_rule_all_the_same(config: Make) -> None:
    segmenter = make(config, organs=3)
    _, pet, image = pair()
    wanted = expected(np.log1p(pet.numpy().astype(float)), 2.5, 4.5, 2)
    assert_close(
        segmenter(image, both())[0].detach().softmax(1),
        torch.from_numpy(wanted).float(),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("learned", [True, False])
def test_limit_and_slope_train_only_if_asked(learned: bool, config: Make) -> None:
    segmenter = make(config, rule={"limit": 2, "slope": 3, "learned": learned})
    names = {name for name, _ in segmenter.named_parameters() if name.startswith("rule.")}
    assert names == ({"rule.limit", "rule.slope"} if learned else set())
    assert {"rule.limit", "rule.slope"} <= set(segmenter.state_dict())


def test_a_first_step_of_training_moves_the_heads_and_a_second_all_the_rest(config: Make) -> None:
    segmenter = make(config).train()
    optimiser = torch.optim.SGD(segmenter.parameters(), 0.1)
    _, pet, image = pair()
    label = (pet > 6).long()
    for step in range(2):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(segmenter(image, both())[0], label).backward()
        stem = next(iter(segmenter.encoders.values())).parameters()
        moved = any(p.grad is not None and p.grad.abs().sum() > 0 for p in stem)
        assert moved == (step == 1)
        optimiser.step()


def test_it_predicts_whole_cases_and_comes_back_from_its_folder_and_in_ensembles(
    config: Make, store: CaseStore, tmp_path: Path
) -> None:
    segmenter = make(config, rule={"limit": 4})
    case = store["case_4"]
    suv = np.asarray(case.images[1], np.float32)
    np.testing.assert_array_equal(predict_mask(segmenter, case, precision="32"), suv > 4)
    with torch.no_grad():
        segmenter.rule.limit += 0.4  # pyright: ignore[reportOptionalMemberAccess, reportOperatorIssue]
    again = Segmenter.from_pretrained(segmenter.save(tmp_path / "one"))
    wanted = predict_case(segmenter, case, precision="32")
    np.testing.assert_array_equal(predict_case(again, case, precision="32"), wanted)
    two = Ensemble.from_pretrained(tmp_path / "one", tmp_path / "one")
    np.testing.assert_allclose(predict_case(two, case, precision="32"), wanted, atol=1e-6)


def test_an_average_has_the_mean_limit(config: Make, tmp_path: Path) -> None:
    folders = [make(config, rule={"limit": limit}).save(tmp_path / f"{limit}") for limit in (2, 3)]
    mean = Segmenter.from_pretrained(average(folders, tmp_path / "mean"))
    assert mean.rule is not None
    assert_close(mean.rule.limit.detach(), torch.tensor([(math.log(3) + math.log(4)) / 2]))
    other = make(config, rule={"limit": 2, "soft_tissue": (-60, 120)}).save(tmp_path / "other")
    with pytest.raises(Exception, match="prior_rule"):
        average([folders[0], other], tmp_path / "none")


@pytest.mark.parametrize("target", ["torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
def test_it_goes_out_with_the_network(target: str, config: Make, tmp_path: Path) -> None:
    """The export compares every subset of the modalities; here: what goes out has the rule."""
    if target == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    point = {"thresholds": (0.3,), "min_volume_ml": 0.2}
    segmenter = make(config, rule={"limit": 2, "soft_tissue": (-60, 120)}, operating_point=point)
    out = export(segmenter.save(tmp_path / "s"), target, tmp_path / "out")
    ct, pet, image = pair()
    inside = (ct >= -60) & (ct <= 120)
    if target == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(out / "model.onnx"))
        given = {"image": image.numpy(), "available": both().numpy()}
        logits = torch.from_numpy(session.run(["logits"], given)[0])
        told = json.loads(session.get_modelmeta().custom_metadata_map["operating_point"])
        assert validate(OperatingPoint, told) == segmenter.config.operating_point
    else:
        logits = torch.jit.load(str(out / "model.ts"))(image, both())
    assert torch.equal(logits.argmax(1) > 0, inside & (pet > 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("ct",)}, "needs a modality in SUV"),
        ({"modalities": ("pet",), "rule": {"soft_tissue": (-60, 120)}}, "needs a CT"),
        ({"intensity": {"pet": {"unit": "SUV", "scale": "zscore"}}}, "scale.pet=window"),
        ({"rule": {"soft_tissue": (-300, 120)}}, "within -160 and 240 HU"),
        ({"rule": {"classes": ("nodes",)}}, "did you mean 'node'"),
        ({"rule": {"limit": 0}}, "above 0"),
        ({"rule": {"slope": 0}}, "slope"),
        ({"rule": {"soft_tissue": (10, 10)}}, "must rise"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(
    changes: dict[str, Any], message: str, config: Make
) -> None:
    with pytest.raises(SettingsError, match=message):
        make(config, **changes)
