"""What every pretext task must keep; run by pytest, once for each `name`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from hilum.core.registry import build
from hilum.core.seeds import numpy_generator, torch_generator
from hilum.encoders import ENCODERS
from hilum.encoders.decoders.base import Decoder
from hilum.pretrain import TASKS
from hilum.pretrain.base import PretextBatch, PretextTask

from .graph_breaks import captured
from .host_reads import host_reads, pretended_gpu

MODALITIES = ("ct", "pet")
SIDES = (16, 24, 32)
RESENC: dict[str, Any] = {"name": "resenc", "features": [4, 8, 8], "blocks": [1, 1, 1]}

TABLE = TASKS


def make(name: str) -> PretextTask:
    params = TASKS[name].small
    encoder = TASKS[name].small_encoder or RESENC
    torch.manual_seed(0)
    made = build(ENCODERS, encoder, in_channels=len(MODALITIES))
    task = build(TASKS, {"name": name, **params}, encoder=made, modalities=MODALITIES)
    task.check_patch(SIDES)
    return task


def batch_of(task: PretextTask, available: Tensor | None = None, seed: int = 0) -> PretextBatch:
    have = torch.ones((4, 2), dtype=torch.bool) if available is None else available

    host = numpy_generator(seed, "shapes")

    def one(number: int) -> PretextBatch:
        image = torch.randn((4, 2, *SIDES), generator=torch_generator(seed, "image", number))
        image = image * have[:, :, None, None, None]
        body = torch.zeros((4, 1, *SIDES), dtype=torch.bool)
        body[..., 2:-2, 2:-2, 2:-2] = True
        inside = body.expand(-1, 2, -1, -1, -1)
        shift = torch.zeros((4, 2, 3))
        generator = torch_generator(seed, "task")
        names = ("a", "b", "c", "d")
        return PretextBatch(
            image, have, body, generator, inside, shift, cases=names, host=host, there=have.tolist()
        )

    return one(0)._replace(others=tuple(one(n) for n in range(1, task.views)))


MIXED = torch.tensor([[True, True], [True, False], [False, True], [True, True]])


def test_a_loss_is_finite_and_reaches_the_encoder(name: str) -> None:
    task = make(name)
    loss, terms = task.loss(batch_of(task))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(value) and not value.requires_grad for value in terms.values())
    loss.backward()
    grads = [p.grad for p in task.encoder.parameters() if p.requires_grad]
    reached = sum(g is not None and bool(g.abs().sum() > 0) for g in grads)
    assert reached >= 0.8 * len(grads), "nearly every weight of the encoder learns"


def test_every_output_of_a_whole_network_has_a_meaning(name: str) -> None:
    task = make(name)
    outputs, decoder = task.outputs(), getattr(task, "decoder", None)
    assert bool(outputs) == isinstance(decoder, Decoder)
    if isinstance(decoder, Decoder):
        assert "decoder" not in task.networks(), "it is in the network folder"
        image = batch_of(task).image
        assert decoder(task.encoder(image))[0].shape == (4, len(outputs), *SIDES)
        rebuilt = [o.name for o in outputs if o.kind == "reconstruction"]
        assert rebuilt in ([], list(MODALITIES))


def test_the_same_seed_gives_the_same_loss_and_another_seed_another(name: str) -> None:
    task = make(name)
    task.eval()
    first, again = (task.loss(batch_of(task))[0].item() for _ in range(2))
    other = task.loss(batch_of(task, seed=1))[0].item()
    assert first == again != other


def test_a_pool_of_mixed_availability_trains(name: str) -> None:
    task = make(name)
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 1e-3)
    for step in range(2):
        loss, _ = task.loss(batch_of(task, MIXED, seed=step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        task.after_step(step + 1, 2)
    assert all(torch.isfinite(p).all() for p in task.parameters())


def test_everything_is_in_the_state(name: str) -> None:
    task, other = make(name), make(name)
    optimiser = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], 1e-2)
    task.loss(batch_of(task))[0].backward()
    optimiser.step()
    task.after_step(1, 2)
    other.load_state_dict(task.state_dict())
    task.eval()
    other.eval()
    ours, theirs = (t.loss(batch_of(t, seed=3))[0].item() for t in (task, other))
    assert ours == theirs


def test_pictures_have_the_shape_of_the_input(name: str) -> None:
    task = make(name)
    task.eval()
    with torch.no_grad():
        volumes = task.pictures(batch_of(task))
    assert volumes
    for volume in volumes.values():
        assert volume.shape[:2] == (4, 2)
        assert volume.ndim == 5


def test_a_step_reads_nothing_on_the_host(name: str) -> None:
    task = make(name)
    batch = batch_of(task, MIXED)
    with host_reads() as found:
        task.loss(batch)[0].backward()
        task.after_step(1, 2)
    assert not found


@pytest.mark.slow
def test_what_a_run_compiles_has_no_graph_breaks(name: str) -> None:
    """And its losses stay, over steps that mask other places."""
    task, plain = make(name), make(name)
    with captured(task.passes()) as found:
        losses = [task.loss(batch_of(task, MIXED, seed=seed))[0].item() for seed in range(2)]
    assert losses == [plain.loss(batch_of(plain, MIXED, seed=n))[0].item() for n in range(2)]
    assert found.graphs >= 1, "nothing was compiled: the modules of `passes` are not called"
    assert not found.breaks


def test_it_computes_on_a_pretended_gpu(name: str) -> None:
    task = make(name)
    batch = batch_of(task, MIXED)
    with pretended_gpu() as move, host_reads() as found:
        loss, terms = move(task).loss(move(batch))
        task.after_step(1, 2)
    assert not found
    assert all(x.device.type == "cuda" for x in (loss, *terms.values()))
