"""A GPU that does not compute is said with its reason, and so are GPUs that differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hilum.core import gpu
from hilum.core.gpu import gpu_notes, smallest_gpu

GIB = 2**30


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a GPU; return where its driver would say its version."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "version")
    return tmp_path / "version"


def test_a_machine_without_a_gpu_needs_no_word() -> None:
    assert gpu_notes() == []


@pytest.mark.parametrize("value", ["", "-1", " "])
def test_gpus_that_a_variable_hides(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    [line] = gpu_notes()
    assert f"CUDA_VISIBLE_DEVICES={value!r} hides all of them" in line


def test_a_variable_that_names_a_gpu_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu_notes() == []


def test_an_old_driver(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.82\nGCC version\n")
    [line] = gpu_notes()
    assert "for its CUDA 13.0" in line
    assert "may be too old" in line
    assert "470.82" in line
    assert "GCC" not in line
    monkeypatch.setattr(torch.version, "cuda", None)
    [line] = gpu_notes()
    assert "a build without CUDA" in line


def test_apples_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert "MPS" in gpu_notes()[0]


def test_gpus_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        SimpleNamespace(name="A", total_memory=24 * GIB),
        SimpleNamespace(name="B", total_memory=8 * GIB),
    ]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: found[number])
    [line] = gpu_notes()
    assert "A, 24 GiB; B, 8 GiB" in line
    assert smallest_gpu() == 8 * GIB
    found[1] = found[0]
    assert gpu_notes() == []
