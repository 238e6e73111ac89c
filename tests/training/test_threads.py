"""How many cores read patches ahead, and how many compute."""

from __future__ import annotations

import pytest
import torch

from hilum.training import threads
from hilum.training.threads import readers

from .toy import trainer_settings


@pytest.mark.parametrize(
    ("cores", "devices", "expected"), [(64, 1, 4), (4, 1, 3), (2, 1, 1), (1, 1, 1), (16, 8, 1)]
)
def test_a_gpu_is_read_for_by_what_its_share_of_the_cores_allows(
    monkeypatch: pytest.MonkeyPatch, cores: int, devices: int, expected: int
) -> None:
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert readers(trainer_settings(steps=1, devices=devices)) == expected


def test_a_processor_that_computes_does_not_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert readers(trainer_settings(steps=1)) == 0


def test_what_is_asked_for_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert readers(trainer_settings(steps=1, workers=0)) == 0
    assert readers(trainer_settings(steps=1, workers=9)) == 9


def test_a_run_on_the_processor_says_how_its_threads_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    for line, gpu in (("", False), ("bounded", False), ("bounded", True)):
        monkeypatch.setattr(threads, "waiting_line", lambda line=line: line)
        monkeypatch.setattr(torch.cuda, "is_available", lambda gpu=gpu: gpu)
        monkeypatch.setattr(threads, "gpu_notes", lambda gpu=gpu: ["why"] * gpu)
        threads.say_machine(lines.append)
    assert lines == ["bounded", "note: why"]


def test_readers_leave_the_other_cores_to_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "_cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for workers, left in ((0, 2), (1, 1), (8, 1)):
            with threads.threads(trainer_settings(steps=1, workers=workers)):
                assert torch.get_num_threads() == left
    finally:
        torch.set_num_threads(before)
