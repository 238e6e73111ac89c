"""Each adaptation method moves what it should, holds what it should, and saves a plain folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.datasets.batch import collate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.module import FinetuneModule
from hilum.finetune.settings import FinetuneSettings
from hilum.finetune.transfer.adaptation import Adaptation, distance
from hilum.finetune.transfer.partial import last_layers
from hilum.finetune.transfer.rates import default_rate
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ...patch_sets import patch_set

Make = Callable[..., SegmenterConfig]
TRAINER = {"steps": 20, "learning_rate": 0.01, "warmup": 0.0, "weight_decay": 0.1}
SIDES = (8, 12, 16)


def settings(init: str | None = "encoder", **transfer: Any) -> FinetuneSettings:
    values = {"store": "none", "patch": SIDES, "trainer": TRAINER, "pictures": 0}
    return validate(FinetuneSettings, {**values, "init_from": init, "transfer": transfer})


class OneStep:
    """A module after one training step, and the weights from before."""

    def __init__(
        self,
        segmenter: Segmenter,
        store: CaseStore,
        at: int = 0,
        taken: tuple[str, ...] = (),
        **transfer: Any,
    ) -> None:
        torch.manual_seed(1)
        self.module = FinetuneModule(segmenter, settings(**transfer), store, Path("unused"), taken)
        self.module.train()
        self.module._trainer = SimpleNamespace(global_step=at)  # pyright: ignore
        self.logged: dict[str, Tensor] = {}
        self.module.log_dict = lambda named, **more: self.logged.update(named)  # pyright: ignore
        self.segmenter = segmenter
        self.before = {n: v.clone() for n, v in segmenter.state_dict().items()}
        shape = self.module.augmentation.read_shape()
        data = patch_set(store, ["case_0", "case_1"], shape, 2, 0, inner=SIDES, foreground=1)
        optimiser = self.module.configure_optimizers()["optimizer"]
        batch = collate([data[0], data[1]])
        self.module.on_train_batch_start(batch, 0)
        self.loss = self.module.training_step(batch, 0)
        self.loss.backward()
        self.groups = optimiser.param_groups
        optimiser.step()

    @property
    def moved(self) -> set[str]:
        now = self.segmenter.state_dict()
        return {n for n, value in self.before.items() if not torch.equal(value, now[n])}

    def kept(self, prefix: str) -> set[str]:
        return {n for n in self.before if n.startswith(prefix)} - self.moved


ENCODERS = "strategy.encoders."


def names(segmenter: Segmenter) -> Iterator[str]:
    yield from segmenter.state_dict()


def test_full_moves_everything(config: Make, store: CaseStore) -> None:
    segmenter = Segmenter(config())
    step = OneStep(segmenter, store)
    assert step.kept("") <= {"strategy.placeholder"}


def test_decoder_first_moves_the_encoders_only_later(config: Make, store: CaseStore) -> None:
    early = OneStep(Segmenter(config()), store, at=9, decoder_first=0.5)
    assert not any(name.startswith(ENCODERS) for name in early.moved)
    assert not early.segmenter.strategy.encoders.training
    assert any(name.startswith("strategy.decoder") for name in early.moved)
    later = OneStep(Segmenter(config()), store, at=10, decoder_first=0.5)
    assert later.segmenter.strategy.encoders.training
    assert all(p.grad is not None for p in later.segmenter.encoders["all"].parameters())


def with_batch_norm(segmenter: Segmenter) -> nn.BatchNorm3d:
    """Replace an instance norm of the encoder by a batch norm, under all of its names."""
    encoder: Any = segmenter.encoders["all"]
    norm = nn.BatchNorm3d(4)
    part = encoder.inner.stem.convs[0]
    part.norm = part.all_modules[1] = norm
    return norm


def test_a_frozen_encoder_keeps_its_weights_and_its_statistics(
    config: Make, store: CaseStore
) -> None:
    segmenter = Segmenter(config())
    norm = with_batch_norm(segmenter)
    step = OneStep(segmenter, store, method="frozen")
    assert not any(name.startswith(ENCODERS) for name in step.moved)
    assert any(name.startswith("strategy.decoder") for name in step.moved)
    assert torch.equal(norm.running_mean, torch.zeros(4))  # pyright: ignore[reportArgumentType]
    assert segmenter.strategy.training
    assert not norm.training
    # A validation in between puts all of it to training mode again.
    segmenter.train()
    step.module.on_train_batch_start({}, 1)  # pyright: ignore[reportArgumentType]
    assert not norm.training
    loose = Segmenter(config())
    norm = with_batch_norm(loose)
    OneStep(loose, store)
    assert norm.running_mean.any(), "with method full they move"  # pyright: ignore


def test_a_probe_moves_one_linear_map_only(config: Make, store: CaseStore, tmp_path: Path) -> None:
    segmenter = Segmenter(config(fusion={"name": "late"}, classes=3))
    encoder = {n: v for n, v in segmenter.state_dict().items() if n.startswith(ENCODERS)}
    step = OneStep(segmenter, store, method="probe")
    assert encoder.keys() <= step.before.keys()
    assert all(torch.equal(step.before[name], value) for name, value in encoder.items())
    assert step.moved == {
        f"strategy.decoders.{m}.{part}"
        for m in ("ct", "pet")
        for part in ("bias", "maps.0.weight", "maps.1.weight", "maps.2.weight")
    }
    again = Segmenter.from_pretrained(segmenter.save(tmp_path / "s"))
    image, available = torch.randn(1, 2, *SIDES), torch.ones(1, 2, dtype=torch.bool)
    assert_close(again(image, available), segmenter.eval()(image, available), rtol=0, atol=0)


def test_the_first_layers_of_each_encoder_move_alone(config: Make, store: CaseStore) -> None:
    segmenter = Segmenter(config(fusion={"name": "late"}))
    step = OneStep(segmenter, store, method="first_layers", layers=0.5)
    # Of stem, stages.0, stages.1 and stages.2 the first half.
    for name in step.before:
        inner = name.partition(".inner.")[2]
        if name.startswith(ENCODERS) and inner.startswith(("stages.1.", "stages.2.")):
            assert name not in step.moved, name
    early = {n for n in step.before if "inner.stem.convs.0.conv.weight" in n}
    assert early <= step.moved
    assert len(early) == 2
    assert not step.kept("strategy.decoders.ct.joins")


def test_three_quarters_round_up(config: Make) -> None:
    encoder = Segmenter(config()).encoders["all"]  # four layers
    held = {id(p) for p in last_layers([encoder], SIDES, 0.75)}
    assert held == {id(p) for n, p in encoder.named_parameters() if ".stages.2." in n}
    assert {id(p) for p in last_layers([encoder], SIDES, 0.8)} == set()


@pytest.mark.parametrize("taken", [(), ("decoder",)], ids=["encoder", "whole"])
def test_norms_and_biases_move_and_what_is_new(
    taken: tuple[str, ...], config: Make, store: CaseStore
) -> None:
    segmenter = Segmenter(config())
    step = OneStep(segmenter, store, taken=taken, method="norms")
    for name in sorted(step.before):
        pretrained = name.startswith(ENCODERS) or (bool(taken) and "heads" not in name)
        if "placeholder" in name or "all_modules" in name:  # a second name of the same
            continue
        few = name.endswith("bias") or ".norm." in name or (".joins." in name and ".1." in name)
        if pretrained and not few:
            assert name not in step.moved, name
    assert any(".norm." in name for name in step.moved)
    assert "strategy.decoder.heads.0.weight" in step.moved
    assert ("strategy.decoder.ups.0.weight" in step.moved) == (not taken)
    assert not step.kept("strategy.decoder.heads")


def test_a_rate_for_all_is_beside_that_of_the_encoders(config: Make, store: CaseStore) -> None:
    chosen = settings(rate=0.2, encoder_rate=0.5)
    module = FinetuneModule(Segmenter(config()), chosen, store, Path("unused"))
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {group["name"]: group["initial_lr"] for group in groups}
    assert rates == pytest.approx({"encoder": 0.01 * 0.2 * 0.5, "decoder": 0.01 * 0.2})


def test_the_sawtooth_by_hand(config: Make, store: CaseStore) -> None:
    trainer = {"steps": 20, "learning_rate": 1.0, "warmup": 0.2, "schedule": "poly"}
    chosen = settings(decoder_first=0.5, sawtooth=True)
    chosen = chosen.model_copy(update={"trainer": validate(type(chosen.trainer), trainer)})
    module = FinetuneModule(Segmenter(config()), chosen, store, Path("unused"))
    configured = module.configure_optimizers()
    optimiser, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    seen: dict[str, list[float]] = {"encoder": [], "decoder": []}
    for _ in range(20):
        for name in seen:
            seen[name].append(next(g["lr"] for g in optimiser.param_groups if g["name"] == name))
        optimiser.step()
        schedule.step()
    again = [0.25, 0.5, 0.75, 1.0] + [(1 - t / 6) ** 0.9 for t in range(6)]
    assert seen["decoder"] == pytest.approx([(n + 1) / 10 for n in range(10)] + again)
    assert seen["encoder"] == pytest.approx([0.0] * 10 + again)
    assert module.adaptation.thawing == 10


def test_a_pull_reaches_a_decoder_that_is_pretrained_but_not_its_heads(
    config: Make, store: CaseStore
) -> None:
    segmenter = Segmenter(config())
    step = OneStep(segmenter, store, taken=("decoder",), pull=0.3)
    step.module.adaptation.pull().backward()  # pyright: ignore[reportOptionalMemberAccess]
    own = dict(segmenter.named_parameters())
    segmenter.zero_grad()
    step.module.adaptation.pull().backward()  # pyright: ignore[reportOptionalMemberAccess]
    name = "strategy.decoder.ups.0.weight"
    assert_close(own[name].grad, 0.3 * (own[name].detach() - step.before[name]))
    assert own["strategy.decoder.heads.0.weight"].grad is None


@pytest.mark.parametrize(
    ("patients", "whole", "factor"),
    [(1, True, 0.2), (2, True, 0.2), (5, True, 0.2), (6, True, 1.0), (1, False, 1.0)],
)
def test_the_rate_follows_the_labels_and_says_why(
    patients: int, whole: bool, factor: float
) -> None:
    choice = default_rate(patients, whole)
    assert choice.factor == factor
    assert (f"{patients} labelled patient" in choice.why) == whole


def test_adapters_move_alone_in_the_encoders(config: Make, store: CaseStore) -> None:
    segmenter = Segmenter(config())
    norm = with_batch_norm(segmenter)
    step = OneStep(segmenter, store, method="adapters", rank=2)
    inside = {name for name in step.moved if name.startswith(ENCODERS)}
    assert all(".adapter_" in name for name in inside)
    # One factor starts at zero, so that the other has no gradient in the first step.
    grew = {name for name in inside if "adapter_up" in name}
    every = {name for name in step.before if "adapter_up" in name}
    assert grew == every, "an adapter that nothing calls would never move"
    assert any(name.startswith("strategy.decoder") for name in step.moved)
    assert not norm.training
    assert torch.equal(norm.running_mean, torch.zeros(4))  # pyright: ignore[reportArgumentType]


def test_adapters_are_merged_when_the_segmenter_is_saved(
    config: Make, store: CaseStore, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    plain = Segmenter(config(fusion={"name": "late"})).eval()
    image, available = torch.randn(2, 2, *SIDES), torch.ones(2, 2, dtype=torch.bool)
    start = plain(image, available)[0]
    names = set(plain.state_dict())
    step = OneStep(plain, store, method="adapters", rank=2, alpha=40.0)
    segmenter = step.segmenter.eval()
    expected = segmenter(image, available)[0]
    assert (expected - start).abs().max() > 1e-3
    again = Segmenter.from_pretrained(segmenter.save(tmp_path / "s"))
    assert set(again.state_dict()) == names
    assert_close(again(image, available)[0], expected, rtol=1e-5, atol=1e-5)
    # By hand, for one layer: W + alpha / r * B A, which for a 3D kernel multiplies over the rank.
    layer: Any = segmenter.encoders["ct"].get_submodule("inner.stages.1.blocks.0.conv1.conv")
    low, high = layer.adapter_down, layer.adapter_up
    change = torch.einsum("orxyz,ridhw->oidhw", high, low) * (40.0 / 2)
    merged: Any = again.encoders["ct"].get_submodule("inner.stages.1.blocks.0.conv1.conv")
    assert_close(merged.weight, layer.weight + change)


def test_layer_decay_gives_every_layer_its_rate_by_hand(config: Make, store: CaseStore) -> None:
    segmenter = Segmenter(config(fusion={"name": "late"}))
    module = FinetuneModule(
        segmenter, settings(layer_decay=0.5, encoder_rate=0.4), store, Path("unused")
    )
    groups = module.configure_optimizers()["optimizer"].param_groups
    rates = {id(p): g["initial_lr"] for g in groups for p in g["params"]}
    assert len(rates) == sum(len(g["params"]) for g in groups)
    by_hand = {"stem": 0.0005, "stages.0": 0.001, "stages.1": 0.002, "stages.2": 0.004}
    seen = set()
    for name, parameter in segmenter.named_parameters():
        inner = name.partition(".inner.")[2]
        key = next((k for k in by_hand if inner.startswith(f"{k}.")), None)
        seen.add(key)
        assert rates.pop(id(parameter)) == pytest.approx(by_hand[key] if key else 0.01), name
    assert not rates
    assert seen == {*by_hand, None}
    assert {g["name"] for g in groups} == {*(f"encoder.{n:02d}" for n in range(4)), "decoder"}


def test_the_pull_is_half_the_squared_distance_and_replaces_decay(
    config: Make, store: CaseStore
) -> None:
    segmenter = Segmenter(config())
    step = OneStep(segmenter, store, pull=0.3)
    assert step.logged["train/pull"] == 0, "at the start there is no distance"
    for group in step.groups:
        assert group["weight_decay"] == (0 if group["name"] == "encoder" else group["weight_decay"])
    pulled = step.module.adaptation.pull()
    expected, unique = 0.0, {id(p) for p in segmenter.encoders["all"].parameters()}
    for name, parameter in segmenter.named_parameters():
        if id(parameter) in unique:
            expected += ((parameter.detach().double() - step.before[name].double()) ** 2).sum()
    assert expected > 0
    assert float(pulled.detach()) == pytest.approx(0.15 * float(expected), rel=1e-5)  # pyright: ignore
    segmenter.zero_grad()
    pulled.backward()  # pyright: ignore[reportOptionalMemberAccess]
    name, parameter = next(iter(segmenter.encoders["all"].named_parameters()))
    change = parameter.detach() - step.before[f"{ENCODERS}all.{name}"]
    assert_close(parameter.grad, 0.3 * change)
    assert segmenter.get_parameter("strategy.placeholder").grad is None


def test_distance_counts_in_float32() -> None:
    one = torch.full((3, 2), 1.5, dtype=torch.bfloat16)
    assert distance([one], [one - 0.5]) == 1.5


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        ({"method": "probe", "parts": "encoder+decoder"}, "a probe has a decoder of its own"),
        ({"method": "frozen", "pull": 0.1}, "a pull needs encoders that train"),
        ({"method": "frozen", "layer_decay": 0.5}, "encoders do not train with method frozen"),
        ({"method": "probe", "decoder_first": 0.5}, "encoders do not train with method probe"),
        ({"method": "frosen"}, "transfer.method"),
        ({"sawtooth": True}, "sawtooth needs a part with the decoder alone"),
        ({"layers": 1.0}, "transfer.layers"),
        ({"layer_decay": 0}, "transfer.layer_decay"),
        ({"rank": 0}, "transfer.rank"),
    ],
)
def test_methods_that_contradict_each_other_are_refused(
    transfer: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings(**transfer)


@pytest.mark.parametrize("transfer", [{"method": "frozen"}, {"method": "probe"}, {"pull": 1.0}])
def test_methods_for_pretrained_encoders_need_some(transfer: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="needs pretrained encoders: set init_from"):
        settings(init=None, **transfer)


def test_the_default_changes_nothing(config: Make) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(config())
    before = torch.random.get_rng_state()
    adaptation = Adaptation(segmenter, settings(init=None))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert set(adaptation.parts()) == {"encoder", "decoder"}
    assert adaptation.pull() is None
