"""Losses of fine-tuning can be captured whole by torch.compile; only what compiles is in contracts.

In a process of its own: torch's tracer does not get through the type checks of these tests.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from hilum.losses import LOSSES

from ..warm import python

SCRIPT = """
import json
import torch
from torch import nn
from hilum.contracts.graph_breaks import captured
from hilum.contracts.losses import logits, made, patches
from hilum.losses import LOSSES
from hilum.losses.base import Targets

class Step(nn.Module):
    def __init__(self, loss):
        super().__init__()
        self.loss = loss
    def forward(self, *inputs):
        return self.loss(*inputs)

found = {}
for name in LOSSES.ours:
    loss, label = made(name), patches()
    given = [(loss.maps(label, 3), None)]
    if loss.any_targets:
        given.append((None, Targets(torch.full((2, 256, 3), 1 / 3), overlapping=True)))
    found[name] = []
    for maps, targets in given:
        levels, plain, step = logits(), logits(), Step(loss)
        with captured([step]) as seen:
            value, terms = step(levels, label, maps, targets)
            value.backward()
        expected, named = loss(plain, label, maps, targets)
        expected.backward()
        same = torch.equal(value, expected) and terms == named
        same &= all(torch.equal(a.grad, b.grad) for a, b in zip(levels, plain, strict=True))
        found[name].append([seen.graphs, seen.breaks, same])
print(json.dumps(found))
"""


@pytest.mark.slow
def test_every_loss_is_one_graph_with_the_same_value_and_gradients() -> None:
    """But for the maps of the label, which loaders make."""
    command = [python(), "-P", "-W", "ignore", "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(LOSSES.ours)
    assert all(forms == [[1, [], True]] * len(forms) for forms in found.values()), found
    assert len(found["dice_ce"]) == 2, "labels of shares, too"
