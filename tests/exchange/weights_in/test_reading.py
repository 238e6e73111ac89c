"""A weights file is read without running it, and what is wrong with one is told in one line."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import pickle
import subprocess
import tarfile
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hilum.core.errors import CheckpointError
from hilum.exchange.weights_in.reading import read_foreign

from ...warm import python

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2)}


def refused(path: Path, **more: str) -> str:
    with pytest.raises(CheckpointError) as error:
        read_foreign(path, **more)
    assert error.value.exit_code == 2
    text = str(error.value)
    assert "\n" not in text
    assert str(path) in text
    return text


class Malicious:
    """A pickle that creates a file when it is loaded the usual way."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickle_with_code_inside_is_refused_and_does_not_run(tmp_path: Path, new: bool) -> None:
    file, trace = tmp_path / "w.pt", tmp_path / "trace"
    content = {"state_dict": STATE, "extra": Malicious(trace)}
    torch.save(content, file, _use_new_zipfile_serialization=new)
    assert "system" in refused(file)
    assert not trace.exists()
    # It is a real one: the usual way runs it.
    torch.load(file, weights_only=False)
    assert trace.exists()


def test_a_bare_pickle_with_code_inside_is_refused(tmp_path: Path) -> None:
    file, trace = tmp_path / "w.pkl", tmp_path / "trace"
    file.write_bytes(pickle.dumps(Malicious(trace)))
    refused(file)
    assert not trace.exists()


def test_a_whole_module_or_settings_inside_are_refused_by_name(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3), tmp_path / "module.pt")
    assert "torch.nn.modules.linear.Linear" in refused(tmp_path / "module.pt")
    torch.save({"state_dict": STATE, "args": argparse.Namespace(lr=1)}, tmp_path / "args.pt")
    text = refused(tmp_path / "args.pt")
    assert "argparse.Namespace" in text
    assert "state_dict() alone" in text


def test_numpys_numbers_which_nnunet_logs_are_allowed(tmp_path: Path) -> None:
    log = {"ema": [np.float64(0.25), np.float32(0.5)], "epoch": np.int64(3)}
    torch.save({"network_weights": STATE, "logging": log}, tmp_path / "w.pth")
    foreign = read_foreign(tmp_path / "w.pth")
    assert foreign.group == "network_weights"
    assert foreign.about["logging"]["ema"][0] == 0.25


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_truncated_file_is_told(tmp_path: Path, kind: str, share: float) -> None:
    file = tmp_path / "w"
    state = {"a.weight": torch.randn(200, 30)}
    if kind == "safetensors":
        save_file(state, file)
    else:
        torch.save(state, file, _use_new_zipfile_serialization=kind == "zip")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    assert "whole" in refused(file)


@pytest.mark.parametrize("kind", ["zip", "old", "safetensors"])
def test_a_damaged_file_is_told_wherever_it_is_damaged(tmp_path: Path, kind: str) -> None:
    """A byte or a few are other ones: where that does not matter, the file is read."""
    file, rng = tmp_path / "w", np.random.default_rng(5)
    if kind == "safetensors":
        save_file(STATE, file)
    else:
        content = {"network_weights": STATE, "init_args": {"plans": {"sides": [1, 2.5, None]}}}
        torch.save(content, file, _use_new_zipfile_serialization=kind == "zip")
    whole = np.frombuffer(file.read_bytes(), np.uint8)
    told: list[str] = []
    for _ in range(400):
        damaged = whole.copy()
        places = rng.integers(len(whole), size=rng.integers(1, 5))
        damaged[places] = rng.integers(256, size=len(places))
        file.write_bytes(damaged.tobytes())
        try:
            read_foreign(file)
        except CheckpointError as error:
            told.append(str(error))
    assert len(told) > 100
    assert not [text for text in told if "\n" in text]


def test_a_file_that_was_changed_is_told_by_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file(STATE, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert read_foreign(file, digest).sha256 == digest
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert "sha256" in refused(file, sha256=digest)


def test_archives_pages_and_pointers_are_named(tmp_path: Path) -> None:
    inner = tmp_path / "w.pt"
    torch.save(STATE, inner)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(inner, "folder/w.pt")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(inner, "w.pt")
    with gzip.open(tmp_path / "a.gz", "wb") as stream:
        stream.write(b"x")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><title>Sign in</title>")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "keras.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    words = {
        "a.zip": "zip archive with folder/w.pt", "a.tar": "tar archive", "a.gz": "gzip archive",
        "page.pt": "web page", "lfs.pt": "git lfs pull", "empty.pt": "empty", "keras.h5": "Keras",
    }  # fmt: skip
    for name, word in words.items():
        assert word in refused(tmp_path / name)
    assert "no such" in refused(tmp_path / "nothing.pt")


def test_a_program_is_told_from_weights(tmp_path: Path) -> None:
    (tmp_path / "script.pt").unlink(missing_ok=True)
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/data.pkl", b"")
        archive.writestr("script/code/__torch__.py", b"")
    assert "TorchScript" in refused(tmp_path / "script.pt")


@pytest.mark.parametrize(
    ("content", "group", "prefix"),
    [
        (STATE, "", ""),
        ({"state_dict": STATE, "epoch": 3}, "state_dict", ""),
        ({"net": STATE, "optimizer": {"state": {}}, "epoch": 3}, "net", ""),
        ({"ema": {"x": torch.ones(1)}, "model": STATE}, "model", ""),
        ({"anything": STATE}, "anything", ""),
        ({f"module.{k}": v for k, v in STATE.items()}, "", "module."),
        ({f"module._orig_mod.{k}": v for k, v in STATE.items()}, "", "module._orig_mod."),
    ],
)
def test_the_networks_tensors_are_found_wherever_they_lie(
    tmp_path: Path, content: dict, group: str, prefix: str
) -> None:
    torch.save(content, tmp_path / "w.pt")
    foreign = read_foreign(tmp_path / "w.pt")
    assert sorted(foreign.tensors) == sorted(STATE)
    assert (foreign.group, foreign.prefix) == (group, prefix)
    assert foreign.numbers() == 8


def test_a_file_without_tensors_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {}}, tmp_path / "w.pt")
    assert "the keys epoch, state_dict" in refused(tmp_path / "w.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "list" in refused(tmp_path / "list.pt")


def test_shards_are_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    assert "one file" in refused(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux")
@pytest.mark.parametrize("kind", ["pt", "safetensors"])
def test_a_huge_file_is_mapped_and_what_nobody_reads_takes_no_memory(
    tmp_path: Path, kind: str
) -> None:
    """A file of 400 MB, of which an encoder is a small part; the peak is measured in a process."""
    file = tmp_path / f"huge.{kind}"
    code = textwrap.dedent(
        f"""
        import torch
        from hilum.core.registry import build
        from hilum.encoders import ENCODERS
        from hilum.core.checkpoints import state_of
        from hilum.exchange.weights_in.importing import import_weights
        spec = {{"name": "resenc", "features": [4, 8], "blocks": [1, 1]}}
        # What a first import loads of libraries is none of the file's business.
        torch.save(state_of(build(ENCODERS, spec, in_channels=1)), "{tmp_path}/small.pt")
        # Not getrusage: its peak begins with that of the process that started this one.
        peak = lambda: int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
        go = lambda file, out: import_weights(
            "plain", file, out, modalities=["ct"], architecture=spec)
        go("{tmp_path}/small.pt", "{tmp_path}/a")
        before = peak()
        folder, report = go("{file}", "{tmp_path}/b")
        after = peak()
        assert report.covered == 1, report.lines()
        print((after - before) // 1024)
        """
    )
    spec = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
    from hilum.core.checkpoints import state_of
    from hilum.core.registry import build
    from hilum.encoders import ENCODERS

    state = state_of(build(ENCODERS, spec, in_channels=1))
    state["decoder.weight"] = torch.zeros(100_000_000)  # 400 MB
    torch.save(state, file) if kind == "pt" else save_file(state, file)
    del state
    run = subprocess.run(
        [python(), "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert int(run.stdout.split()[-1]) < 60  # MB
    file.unlink()
