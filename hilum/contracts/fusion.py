"""What every fusion strategy must keep; run by pytest, once for each `name`."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.settings import validate
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.resenc import ResencEncoder
from hilum.fusion import STRATEGIES
from hilum.fusion.base import FusionStrategy
from hilum.fusion.cost import cost
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.prior_rule import start_at_zero
from hilum.segmenter.segmenter import Segmenter

from .graph_breaks import captured
from .host_reads import host_reads, pretended_gpu

MODALITIES = ("ct", "pet")
SIDES = (4, 8, 6)
SUBSETS = ([True, True], [True, False], [False, True])
THREE = ("ct", "mr_t1", "pet")

TABLE = STRATEGIES


def make(name: str, modalities: tuple[str, ...] = MODALITIES) -> FusionStrategy:
    """Build a strategy that has left its start, as after some training."""
    strategy = fresh(name, modalities)
    for parameter in strategy.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    # In training a strategy may sample; what it predicts is one answer.
    return strategy.eval()


def fresh(name: str, modalities: tuple[str, ...] = MODALITIES) -> FusionStrategy:
    """Build a strategy as fine-tuning does."""
    torch.manual_seed(0)
    cls = STRATEGIES[name]
    parameters = cls.small
    encoders = {
        key: ResencEncoder(in_channels=len(seen), features=[4, 8], blocks=[1, 1])
        for key, seen in cls.inputs(modalities, **parameters).items()
    }
    return cls(
        modalities=modalities,
        encoders=encoders,
        make_decoder=lambda channels, strides: PyramidDecoder(channels, strides, 2),
        **parameters,
    ).double()


def test_every_modality_that_it_is_said_to_see_reaches_the_prediction(name: str) -> None:
    strategy = make(name, THREE)
    seen = type(strategy).sees(THREE, **type(strategy).small)
    assert seen
    assert set(seen) <= set(THREE)
    before = volumes(1, THREE)
    there = torch.ones(1, 3, dtype=torch.bool)
    for changed in THREE:
        after = {**before, changed: before[changed] + 1 + before[changed] ** 2}
        moved = not torch.equal(strategy(before, there)[0], strategy(after, there)[0])
        assert moved == (changed in seen), changed


def volumes(cases: int = 3, modalities: tuple[str, ...] = MODALITIES) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(cases, 1, *SIDES, generator=generator, dtype=torch.float64)
        for name in modalities
    }


def test_the_first_prediction_has_full_resolution(name: str) -> None:
    logits = make(name)(volumes(), torch.ones(3, 2, dtype=torch.bool))
    assert logits[0].shape == (3, 2, *SIDES)


@pytest.mark.parametrize("trash", [float("nan"), float("inf"), 1e30])
def test_what_is_stored_in_an_absent_modality_never_matters(name: str, trash: float) -> None:
    strategy, clean = make(name), volumes()
    available = torch.tensor(SUBSETS)
    dirty = {key: value.clone() for key, value in clean.items()}
    dirty["pet"][1], dirty["ct"][2] = trash, trash
    gradients = []
    for given in (clean, dirty):
        strategy.zero_grad()
        inputs = {key: value.clone().requires_grad_() for key, value in given.items()}
        out = strategy(inputs, available)[0]
        out.square().sum().backward()
        gradients.append([p.grad for p in strategy.parameters()])
        for key, row in (("pet", 1), ("ct", 2)):
            grad = inputs[key].grad
            assert grad is None or (grad[row] == 0).all(), "it must not be learned from either"
        given["out"] = out.detach()
    assert_close(dirty["out"], clean["out"], rtol=0, atol=0)
    assert_close(gradients[1], gradients[0], rtol=0, atol=0)


def test_a_mixed_batch_equals_its_cases_one_by_one(name: str) -> None:
    strategy, given, available = make(name), volumes(), torch.tensor(SUBSETS)
    together = strategy(given, available)
    for row in range(3):
        own = {key: value[row : row + 1] for key, value in given.items()}
        alone = strategy(own, available[row : row + 1])
        for whole, part in zip(together, alone, strict=True):
            assert_close(part, whole[row : row + 1])


def test_the_order_of_the_modalities_does_not_matter(name: str) -> None:
    """The same parameters by name give the same prediction in another order of columns."""
    strategy, given, available = make(name), volumes(), torch.tensor(SUBSETS)
    turned = make(name, MODALITIES[::-1])
    state = strategy.state_dict()
    state = {key: value.clone() for key, value in state.items()}
    if "all" in strategy.encoders:  # its channels are in the order of the modalities
        for key in strategy.encoders["all"].stem:  # pyright: ignore[reportGeneralTypeIssues]
            state[f"encoders.all.{key}"] = state[f"encoders.all.{key}"].flip(1)
    for key in state:
        if any(re.fullmatch(pattern, key) for pattern in type(strategy).by_column):
            state[key] = state[key].flip(0)
    turned.load_state_dict(state)
    assert_close(turned(given, available.flip(1))[0], strategy(given, available)[0])


def test_every_subset_of_three_modalities_works(name: str) -> None:
    """Seven subsets at once equal one by one, whatever lies in the absent volumes."""
    strategy = make(name, THREE)
    subsets = [[bool(n & 1), bool(n & 2), bool(n & 4)] for n in range(1, 8)]
    given, available = volumes(7, THREE), torch.tensor(subsets)
    together = strategy(given, available)[0]
    assert together.shape == (7, 2, *SIDES)
    for row, subset in enumerate(subsets):
        own = {
            key: value[row : row + 1] if subset[column] else torch.full((1, 1, *SIDES), torch.nan)
            for column, (key, value) in enumerate(given.items())
        }
        own = {key: value.double() for key, value in own.items()}
        assert_close(strategy(own, available[row : row + 1])[0][0], together[row])


def test_every_parameter_gets_a_gradient(name: str) -> None:
    strategy = make(name)
    logits = strategy(volumes(), torch.tensor(SUBSETS))
    sum(z.square().sum() for z in logits).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for key, parameter in strategy.named_parameters():
        if (
            "conv.bias" not in key
            and "all_modules.0.bias" not in key
            and not key.endswith(".0.bias")
        ):
            # A bias in front of an instance norm has no effect, so no gradient.
            assert parameter.grad is not None, key
            assert parameter.grad.abs().sum() > 0, key


def test_heads_of_zeros_mean_the_same_for_every_class_once_the_prior_is_forgotten(
    name: str,
) -> None:
    """What a segmenter that begins as a rule relies on: all that it says at first is the rule."""
    strategy = fresh(name).eval()
    strategy.forget_prior()
    decoders = [part for part in strategy.modules() if isinstance(part, Decoder)]
    start_at_zero(decoders, 2, 0.01)
    levels = strategy(volumes(), torch.tensor(SUBSETS))
    for logits in levels:
        assert_close(logits[:, 1], logits[:, 0], rtol=0, atol=1e-9)


def test_a_case_without_any_modality_is_an_error(name: str) -> None:
    available = torch.tensor([[True, True], [False, False], [True, False]])
    with pytest.raises(
        ValueError, match=r"at least one modality, got none at batch position \[1\]"
    ):
        make(name)(volumes(), available)


def test_a_training_step_of_two_patches_of_96_needs_less_than_12_gb(name: str) -> None:
    """As fine-tuning builds it, in float32, counted without memory, with AdamW's two moments."""
    takes = inspect.signature(STRATEGIES[name]).parameters
    small = STRATEGIES[name].small
    own = {key: value for key, value in small.items() if takes[key].default is takes[key].empty}
    values = {
        "modalities": MODALITIES,
        "encoder": {"name": "resenc", "size": "small"},
        "fusion": {"name": name, **own},
        "patch": (96, 96, 96),
        "spacing": (3, 2, 2),
    }
    with torch.device("meta"):
        strategy = Segmenter(validate(SegmenterConfig, values)).strategy
    found = cost(strategy, (96, 96, 96), 2)
    assert found.memory + 8 * found.parameters < 12e9


def test_a_step_reads_nothing_on_the_host(name: str) -> None:
    strategy, given, available = make(name).train(), volumes(), torch.tensor(SUBSETS)
    with host_reads() as found:
        logits = strategy(given, available)
        terms = [*(z.square().mean() for z in logits), *strategy.penalty().values()]
        torch.stack(terms).sum().backward()
    assert not found


@pytest.mark.slow
def test_a_compiled_step_is_one_graph(name: str) -> None:
    strategy, plain = make(name).train(), make(name).train()
    given, available = volumes(), torch.tensor(SUBSETS)
    with captured([strategy]) as found:
        torch.manual_seed(0)
        logits = strategy(given, available)
    torch.manual_seed(0)
    assert_close(logits, plain(given, available))
    assert (found.graphs, found.breaks) == (1, [])


def test_it_computes_on_a_pretended_gpu(name: str) -> None:
    strategy, given, available = make(name).train(), volumes(), torch.tensor(SUBSETS)
    with pretended_gpu() as move:
        logits = move(strategy)(move(given), move(available))
        terms = strategy.penalty()
    assert all(x.device.type == "cuda" for x in (*logits, *terms.values()))
