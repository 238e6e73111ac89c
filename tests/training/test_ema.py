"""The one update of averaged weights."""

from __future__ import annotations

import torch
from torch import nn

from hilum.training.ema import follow


def test_one_update_serves_averages_and_networks_by_the_formula() -> None:
    torch.manual_seed(0)
    mine, theirs = (nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(2))
    theirs[1].get_buffer("running_mean").fill_(7.0)
    before = [p.detach().clone() for p in mine.parameters()]
    student = [p.detach().clone() for p in theirs.parameters()]
    follow(mine, theirs, 0.75)
    for old, new, found in zip(before, student, mine.parameters(), strict=True):
        torch.testing.assert_close(found.detach(), 0.75 * old + 0.25 * new)
    assert mine[1].get_buffer("running_mean").tolist() == [7.0, 7.0], "statistics are not averaged"
    for kept, parameter in zip(student, theirs.parameters(), strict=True):
        assert torch.equal(kept, parameter.detach()), "the student stays"
