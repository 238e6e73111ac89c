"""A plan fits the memory and the time, is overridden where asked, and can be trained with."""

from __future__ import annotations

import subprocess
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.advice import advice, pretext_advice, rule_advice
from hilum.finetune.fingerprint import Fingerprint, fingerprint, notes
from hilum.finetune.fitting import GIB, largest, needed, smaller_patch, whole_patch
from hilum.finetune.plan import PlanSettings, plan, settings_of, strides_for
from hilum.finetune.settings import FinetuneSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ..warm import python


def asked(**values: Any) -> PlanSettings:
    return validate(PlanSettings, values)


def test_the_fingerprint_is_that_of_the_headers(store: CaseStore) -> None:
    found = fingerprint(store)
    assert found.spacing == (4.0, 4.0, 4.0)
    assert found.cases == 6
    assert found.nodes == 6
    # Balls of a radius of 9 to 11 mm.
    assert 16 < found.smallest < 22
    assert notes(found) == []


def test_a_plan_says_the_rate_of_transfer_and_the_block_of_masks() -> None:
    found = Fingerprint((4.0, 4.0, 4.0), (40, 40, 40), 24.0, 10, 20)
    lines = dict(advice(found, 1))
    assert "0.2 with at most 5 labelled patients" in lines["transfer.rate"]
    assert "with 1, 2 and 5 of them; else 1" in lines["transfer.rate"]
    assert "try 3 voxels" in lines["pretrain task.block"]
    none = Fingerprint((4.0, 4.0, 4.0), (40, 40, 40), float("nan"), 10, 0)
    assert list(dict(advice(none, 0))) == ["transfer.rate"]


def test_a_plan_says_whether_to_begin_as_a_rule_and_asks_no_test_patient(
    store: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(key, why)] = rule_advice(store)
    assert key == "prior_rule"
    assert "set prior_rule.limit=auto" in why
    assert "on 4 labelled patients" in why, "two of six patients test"
    monkeypatch.setattr("hilum.finetune.advice.PROMISING", 1.1)
    assert "not worth" in rule_advice(store)[0][1]


def pool_of(pairs: int, alone: int, tests: int = 3) -> dict[str, dict[str, Any]]:
    kinds = [("ct", "pet")] * pairs + [("ct",)] * alone + [("ct", "pet")] * tests
    return {
        f"case_{k}": {
            "patient": f"patient_{k}",
            "modalities": kind,
            "split": "test" if k >= pairs + alone else "train",
        }
        for k, kind in enumerate(kinds)
    }


@pytest.mark.parametrize(
    ("pool", "spacing", "start", "words"),
    [
        (pool_of(40, 5), 4.0, "synthetic_nodes", "40 of 45 patients"),
        (pool_of(10, 30), 4.0, "masked_autoencoder", "decoys need both"),
        (pool_of(600, 0), 4.0, "joint of synthetic_nodes and masked_autoencoder", "add it"),
        (pool_of(3, 2), 4.0, "none", "a pool of 5 patients is small"),
        (pool_of(40, 0), 16.0, "masked_autoencoder", "two voxels wide, 32 mm"),
    ],
)
def test_a_plan_proposes_a_pretext_task_by_the_pool(
    pool: dict[str, Any], spacing: float, start: str, words: str
) -> None:
    [(key, why)] = pretext_advice(pool, (spacing,) * 3)
    assert key == "pretrain task.name"
    assert why.startswith(start)
    assert words in why


def test_a_plan_of_a_real_store_has_a_pretext_task(store: CaseStore) -> None:
    assert "a pool of 4 patients is small" in pretext_advice(store.rows, store.spacing)[0][1]


def test_a_reason_is_that_of_the_value(store: CaseStore) -> None:
    own = {"fusion": {"name": "late"}, "patch": (16, 16, 16)}
    why = {d.key: d.why for d in plan(store, asked(size="tiny", memory=4, **own))}
    assert why["fusion"] == "as asked"
    assert why["patch"].startswith("as asked; median case")
    usual = {d.key: d.why for d in plan(store, asked(size="tiny", memory=0.2))}
    assert usual["fusion"] == "the reference"
    assert usual["patch"].startswith("median case")


def test_small_nodes_and_none_are_noted() -> None:
    small = Fingerprint((4.0, 4.0, 4.0), (40, 40, 40), 6.0, 10, 20)
    assert "prepare with spacing 2 or less" in notes(small)[0]
    none = Fingerprint((4.0, 4.0, 4.0), (40, 40, 40), float("nan"), 10, 0)
    assert notes(none) == ["no case has a node: patches cannot aim at nodes (foreground=0)"]


@pytest.mark.parametrize(
    ("spacing", "shape", "stages", "steps"),
    [
        ((2.0, 2.0, 2.0), (96, 96, 96), 3, [(1, 1, 1), (2, 2, 2), (2, 2, 2)]),
        ((4.0, 1.0, 1.0), (40, 160, 160), 4, [(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((8.0, 1.0, 1.0), (6, 256, 256), 4, [(1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2)]),
        ((2.0, 2.0, 2.0), (16, 64, 64), 5, [(1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)]),
        ((2.0, 2.0, 2.0), (7, 7, 7), 4, [(1, 1, 1)]),
    ],
)  # fmt: skip
def test_strides_wait_for_coarse_axes_and_leave_four_voxels(
    spacing: Any, shape: Any, stages: int, steps: Any
) -> None:
    assert strides_for(spacing, shape, stages) == steps


def strategy_of(values: dict[str, Any]) -> Any:
    keep = {key: values[key] for key in ("modalities", "encoder", "fusion", "patch")}
    return Segmenter(validate(SegmenterConfig, keep | {"spacing": (4, 4, 4)})).strategy


@pytest.mark.parametrize("memory", [0.05, 0.2])
def test_a_step_of_the_plan_fits_the_memory(store: CaseStore, memory: float) -> None:
    values = settings_of(plan(store, asked(memory=memory)))
    patch, batch = tuple(values["patch"]), values["trainer"]["batch_size"]
    strategy = strategy_of(values)
    assert needed(strategy, patch, batch) <= memory * GIB
    if batch < 8:
        assert needed(strategy, patch, batch + 1) > memory * GIB, "as large as it can be"
    validate(FinetuneSettings, values | {"store": "x"})


def test_the_largest_patch_and_batch_that_fit_are_found_in_few_trials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of many sizes, those that looking at each of them finds; a trial takes up to a second."""
    found = Fingerprint((4.0, 2.0, 2.0), (90, 160, 150), 24.0, 10, 20)
    steps: list[IntTriple] = [(1, 1, 1), (2, 2, 2), (2, 2, 2), (2, 2, 2)]
    tried: list[tuple[IntTriple, int]] = []

    def voxels(_: object, sides: IntTriple, batch: int) -> int:
        tried.append((sides, batch))
        return prod(sides) * batch

    monkeypatch.setattr("hilum.finetune.fitting.needed", voxels)
    sizes = [whole_patch(found, steps)]
    while smaller := smaller_patch(sizes[-1], (8, 8, 8), found.spacing):
        sizes.append(smaller)
    assert len(sizes) > 40
    for least, batch in ((2, None), (1, 1), (3, 3)):
        for budget in [n * prod(s) - d for s in sizes[::5] for n in (2, 3, 5, 9) for d in (0, 1)]:
            tried.clear()
            got = largest(found, steps, lambda sides: None, budget, batch=batch)  # pyright: ignore
            fit = next((s for s in sizes if prod(s) * least <= budget), None)
            more = fit and (batch or max(n for n in range(2, 9) if n * prod(fit) <= budget))
            assert got == (fit and (fit, more))
            assert len(tried) <= 10


PEAK = """
import ctypes, sys
from pathlib import Path
import torch
from hilum.core.settings import validate
from hilum.losses.dice_ce import DiceCeLoss
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

def step(side, batch):
    encoder = {"name": "resenc", "size": "tiny", "checkpoint_activations": sys.argv[1] == "True"}
    values = {"modalities": ("ct", "pet"), "encoder": encoder,
              "fusion": {"name": "cross_attention"}, "patch": (side,) * 3, "spacing": (3, 2, 2)}
    segmenter = Segmenter(validate(SegmenterConfig, values))
    optimiser = torch.optim.AdamW(segmenter.parameters())
    for own in (16, side):  # from the second step on the optimiser's state is there
        image = torch.randn(batch, 2, own, own, own)
        label = (torch.rand(batch, 1, own, own, own) < 0.01).byte()
        logits = segmenter(image, torch.ones(batch, 2, dtype=torch.bool))
        DiceCeLoss()(logits, label)[0].backward()
        optimiser.step()
        optimiser.zero_grad()

def status(what):
    text = Path("/proc/self/status").read_text()
    return int(text.split(what + ":")[1].split()[0]) * 1024

torch.set_num_threads(1)
step(32, 2)  # libraries and kernels are there
ctypes.CDLL("libc.so.6").malloc_trim(0)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
step(64, 2)
print(status("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="asks Linux for the peak")
def test_the_memory_of_a_step_is_what_the_system_says_it_takes() -> None:
    """With all activations kept, and with stages of the encoder computed again."""
    found = {}
    for again in (False, True):
        command = [python(), "-P", "-W", "ignore", "-c", PEAK, str(again)]
        done = subprocess.run(command, capture_output=True)
        assert done.returncode == 0, done.stderr.decode()[-2000:]
        encoder = {"name": "resenc", "size": "tiny", "checkpoint_activations": again}
        values = {"modalities": ("ct", "pet"), "encoder": encoder, "patch": [64, 64, 64]}
        strategy = strategy_of(values | {"fusion": {"name": "cross_attention"}})
        found[again] = needed(strategy, (64, 64, 64), 2), int(done.stdout)
        assert 0.75 * found[again][0] < found[again][1] < 1.15 * found[again][0], found
    assert max(found[True]) < 0.8 * min(found[False]), "it spares what the model says"


def test_stages_run_twice_where_the_patch_fits_no_other_way_and_only_there(
    store: CaseStore,
) -> None:
    sides: IntTriple = (32, 32, 32)

    def planned(memory: float, **more: Any) -> dict[str, Any]:
        own = {"fusion": {"name": "mean"}, "memory": memory / GIB, "patch": sides, "batch_size": 4}
        return settings_of(plan(store, asked(**own | more)))

    roomy = planned(64 * GIB)
    other = {**roomy, "encoder": {**roomy["encoder"], "checkpoint_activations": True}}
    plain, again = (needed(strategy_of(values), sides, 4) for values in (roomy, other))
    assert again < 0.8 * plain
    assert planned(plain) == roomy
    assert planned(plain, checkpoint_activations=True) == other
    for memory in (plain - 1, again):
        assert planned(memory) == other
    assert planned(again, batch_size=None)["trainer"]["batch_size"] >= 2
    validate(FinetuneSettings, other | {"store": "x"})
    for memory, more in ((plain - 1, {"checkpoint_activations": False}), (again - 1, {})):
        with pytest.raises(SettingsError, match="the patch must fit into the memory"):
            planned(memory, **more)


def test_stages_run_twice_where_a_batch_that_is_asked_for_would_shrink_the_patch(
    store: CaseStore,
) -> None:
    fusion = {"name": "mean"}
    few = plan(store, asked(fusion=fusion, memory=0.1))
    many = plan(store, asked(fusion=fusion, memory=0.1, batch_size=8))
    least = plan(
        store, asked(fusion=fusion, memory=0.1, batch_size=8, checkpoint_activations=False)
    )
    assert "checkpoint_activations" not in settings_of(few)["encoder"]
    assert settings_of(many)["encoder"]["checkpoint_activations"] is True
    assert prod(settings_of(many)["patch"]) > prod(settings_of(least)["patch"])
    [said] = [d for d in many if d.key == "encoder.checkpoint_activations"]
    assert f"more than a patch of {tuple(settings_of(least)['patch'])}" in said.why


def test_stages_run_twice_where_not_even_the_smallest_patch_fits_otherwise(
    store: CaseStore,
) -> None:
    own: dict[str, Any] = {"fusion": {"name": "mean"}, "batch_size": 8}
    memory = 0.05

    def planned_in_less_and_less() -> None:
        nonlocal memory
        while memory := 0.85 * memory:
            plan(store, asked(**own, memory=memory, checkpoint_activations=False))

    with pytest.raises(SettingsError, match="too few for the smallest patch"):
        planned_in_less_and_less()
    found = plan(store, asked(**own, memory=memory))
    assert settings_of(found)["encoder"]["checkpoint_activations"] is True
    [said] = [d for d in found if d.key == "encoder.checkpoint_activations"]
    assert said.why.startswith("what is asked for fits no other way")


def test_what_is_asked_for_is_taken(store: CaseStore) -> None:
    decisions = plan(store, asked(patch=(16, 16, 16), batch_size=3, modalities=("pet",)))
    values = settings_of(decisions)
    assert values["patch"] == [16, 16, 16]
    assert values["trainer"]["batch_size"] == 3
    assert values["modalities"] == ["pet"]
    assert all(decision.why for decision in decisions)


def test_little_time_takes_a_smaller_batch_and_patch(store: CaseStore) -> None:
    torch.set_num_threads(1)
    long = settings_of(plan(store, asked(minutes=1e4)))
    short = settings_of(plan(store, asked(minutes=1e-3)))
    assert short["trainer"]["batch_size"] == 2 < long["trainer"]["batch_size"]
    assert short["trainer"]["steps"] < long["trainer"]["steps"]


def test_no_memory_is_an_error(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"must fit into the memory, found 0\.0 GiB"):
        plan(store, asked(memory=0.001))
    with pytest.raises(SettingsError, match=r"the patch must fit.*lower patch or batch_size"):
        plan(store, asked(memory=0.001, patch=(16, 16, 16)))
    with pytest.raises(SettingsError, match="size must be one of tiny, small, base"):
        plan(store, asked(size="huge"))
