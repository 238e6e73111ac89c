"""Several tasks on one encoder: the sum of their losses, and what each of them asks for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.testing import assert_close

from hilum.contracts.pretext import batch_of
from hilum.core.errors import DataError, SettingsError
from hilum.core.registry import build
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders import ENCODERS
from hilum.pretrain import TASKS
from hilum.pretrain.base import PretextBatch, PretextTask
from hilum.pretrain.tasks.joint import Joint

NODES = {"nodes": 3, "decoys": 1, "short_mm": [4, 20]}
BOTH: dict[str, Any] = {"synthetic_nodes": NODES, "masked_autoencoder": {"block": 4}}
CONTEXT: dict[str, Any] = {"modalities": ("ct", "pet"), "spacing": (4.0, 4.0, 4.0)}


def joint(made: Any, tasks: dict[str, Any] | None = None, **params: Any) -> Joint:
    torch.manual_seed(0)
    return Joint(encoder=made.encoder(channels=2), tasks=tasks or BOTH, **CONTEXT, **params)


def test_the_loss_is_the_weighted_sum_and_each_task_sees_what_it_would_alone(made: Any) -> None:
    task = joint(made, weights={"masked_autoencoder": 0.25})
    batch = batch_of(task)
    total, terms = task.loss(batch)
    expected, again = 0.0, batch_of(task)
    for name, weight in (("synthetic_nodes", 1.0), ("masked_autoencoder", 0.25)):
        alone, parts = dict(task.each())[name].loss(again)
        expected = expected + weight * alone
        assert_close(terms[f"{name}_loss"], alone.detach())
        assert {f"{name}_{key}" for key in parts} <= set(terms)
    assert_close(total, expected)


def test_there_is_one_encoder_and_every_task_teaches_it(made: Any) -> None:
    task = joint(made)
    parameters = list(task.parameters())
    assert len(parameters) == len({id(p) for p in parameters})
    encoder = {id(p) for p in task.encoder.parameters()}
    assert all(encoder <= {id(p) for p in part.parameters()} for _, part in task.each())
    for name in BOTH:
        task.zero_grad()
        only = joint(made, weights={other: 1e-9 for other in BOTH if other != name})
        only.loss(batch_of(only))[0].backward()
        assert any(
            p.grad is not None and p.grad.abs().max() > 1e-7 for p in only.encoder.parameters()
        )


def test_the_first_decoder_gives_the_network(made: Any) -> None:
    one = joint(made)
    assert [output.kind for output in one.outputs()] == ["class", "synthetic"]
    assert one.decoder is dict(one.each())["synthetic_nodes"].get_submodule("decoder")
    other = joint(made, dict(reversed(BOTH.items())))
    assert other.outputs() == dict(other.each())["masked_autoencoder"].outputs()


def test_views_batches_and_steps_are_what_the_most_demanding_task_wants(made: Any) -> None:
    task = joint(made, {"synthetic_nodes": NODES, "simclr": {}, "self_distillation": {}})
    assert (task.views, task.least_batch) == (2, 2)
    batch = batch_of(task)
    assert len(batch.others) == 1
    total, terms = task.loss(batch)
    assert torch.isfinite(total)
    assert any(key.startswith("simclr_") for key in terms)
    teacher = task.networks()["teacher"]
    before = [p.clone() for p in teacher.parameters()]
    with torch.no_grad():
        for p in task.encoder.parameters():
            p += 1
    task.after_step(1, 10)
    assert any(not torch.equal(a, b) for a, b in zip(before, teacher.parameters(), strict=True))


@pytest.mark.parametrize(
    ("tasks", "weights", "words"),
    [
        ({"simclr": {}}, {}, r"two other tasks.*task\.tasks="),
        ({"simclr": {}, "joint": {}}, {}, "two other tasks"),
        ({"simclr": {}, "sinthetic_nodes": {}}, {}, "did you mean 'synthetic_nodes'"),
        ({"simclr": {}, "voco": {}}, {"vocos": 1.0}, "did you mean 'voco'"),
        ({"simclr": {}, "voco": {}}, {"voco": 0.0}, "above 0"),
        ({"simclr": {}, "synthetic_nodes": {"node": 3}}, {}, "has no 'node'.*'nodes'"),
    ],
)
def test_bad_tasks_are_named(
    made: Any, tasks: dict[str, Any], weights: dict[str, float], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        joint(made, tasks, weights=weights)


def test_a_task_with_an_encoder_of_its_own_is_refused(
    made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(PretextTask):
        def __init__(self, *, encoder: Any) -> None:
            super().__init__()
            self.encoder = made.encoder(channels=2)

        def loss(self, batch: PretextBatch) -> Any:
            raise NotImplementedError

    monkeypatch.setitem(TASKS.registered, "own", Own)
    with pytest.raises(SettingsError, match=r"take own out of task\.tasks"):
        joint(made, {"own": {}, "synthetic_nodes": NODES})


def test_what_one_task_refuses_is_refused(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task = joint(made)
    with pytest.raises(SettingsError, match="wider than the greatest node"):
        task.check_patch((4, 4, 4))

    def refuse(*_: Any) -> None:
        raise DataError("no place")

    monkeypatch.setattr("hilum.pretrain.tasks.synthetic_nodes.check_places", refuse)
    with pytest.raises(DataError, match="no place"):
        task.check_pool(CaseStore.__new__(CaseStore), ())


def test_it_is_in_the_table() -> None:
    made = build(
        TASKS,
        {"name": "joint", "tasks": BOTH},
        encoder=_encoder(),
        **CONTEXT,
    )
    assert isinstance(made, Joint)


def _encoder() -> Any:
    spec = {"name": "resenc", "features": [4, 8, 8], "blocks": [1, 1, 1]}
    return build(ENCODERS, spec, in_channels=2)
