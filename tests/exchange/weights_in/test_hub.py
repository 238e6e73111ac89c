"""Weights by a name on the hub: from where a user put them, from caches, or downloaded if asked."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hilum.core.checkpoints import read_config
from hilum.core.errors import CheckpointError
from hilum.encoders.unet3d import Unet3DEncoder
from hilum.exchange.weights_in.hub import find_weights, parse_name
from hilum.exchange.weights_in.importing import import_weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GENESIS = "someone/genesis"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HILUM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights under Models Genesis's names."""
    torch.manual_seed(0)
    state = Unet3DEncoder(in_channels=1, features=4).state_dict()
    names = {name: name.removeprefix("inner.") for name in state}
    save_file({new: state[name] for name, new in names.items()}, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("timm/resnet18.a1_in1k", ("timm/resnet18.a1_in1k", "", None)),
        ("a/b/fold_0/c.pth@v2", ("a/b", "fold_0/c.pth", "v2")),
        ("folder/c.pth", None),
        ("./a/b", None),
        ("/a/b", None),
        ("a", None),
        ("a//b", None),
    ],
)
def test_a_name_is_told_from_a_path(text: str, found: tuple | None) -> None:
    assert parse_name(text) == found


def test_weights_are_taken_from_where_a_user_put_them(
    tmp_path: Path, cache: Path, file: Path
) -> None:
    place = cache / "someone--genesis" / "fold_0"
    place.mkdir(parents=True)
    shutil.copy(file, place / "best.safetensors")
    name = f"{GENESIS}/fold_0/best.safetensors"
    folder, report = import_weights("auto", name, tmp_path / "e", modalities=["ct"])
    assert report.covered == 1
    assert read_config(folder).extra["imported"]["file"] == name
    with pytest.raises(CheckpointError, match="must have the given sha256"):
        import_weights("auto", name, tmp_path / "f", modalities=["ct"], sha256="0" * 64)


def test_a_revision_is_never_that_of_files_without_one(cache: Path, file: Path) -> None:
    for folder in ("someone--genesis", "someone--genesis@v2"):
        (cache / folder).mkdir(parents=True)
        shutil.copy(file, cache / folder / file.name)
    assert find_weights(f"{GENESIS}/{file.name}").parent.name == "someone--genesis"
    assert find_weights(f"{GENESIS}/{file.name}@v2").parent.name == "someone--genesis@v2"
    with pytest.raises(CheckpointError, match=r"put .* into .*someone--genesis@refs--pr--1"):
        find_weights(f"{GENESIS}/{file.name}@refs/pr/1")


@pytest.mark.parametrize("inside", [True, False])
def test_weights_are_taken_from_the_hubs_own_cache(cache: Path, file: Path, inside: bool) -> None:
    place = cache / "models--someone--genesis"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(COMMIT)
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    shutil.copy(file, place / "snapshots" / COMMIT / file.name)
    found = find_weights(f"{GENESIS}/{file.name}" if inside else GENESIS)
    assert found == place / "snapshots" / COMMIT / (file.name if inside else "")
    assert find_weights(f"{GENESIS}@{COMMIT}") == place / "snapshots" / COMMIT


def test_without_the_network_the_error_says_where_to_put_the_file(cache: Path) -> None:
    with pytest.raises(CheckpointError, match="no network was asked for") as caught:
        find_weights(f"{GENESIS}/best.pth")
    assert f"put best.pth into {cache / 'someone--genesis'}" in str(caught.value)
    with pytest.raises(CheckpointError, match=r"owner/name, found 'some one/x'"):
        find_weights("some one/x")


def test_a_path_that_is_not_there_is_no_name(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(CheckpointError, match=r"folder/best.pth: no such weights file"):
        import_weights("auto", "folder/best.pth", tmp_path / "e", modalities=["ct"])


class _Hub(BaseHTTPRequestHandler):
    """What huggingface_hub asks of a hub: the list of a repository's files, and each file."""

    content: bytes

    def do_GET(self) -> None:
        """Answer with the listing or the file."""
        if self.path.startswith("/api/models/"):
            size = len(self.content)
            tree = [{"type": "file", "path": "model.safetensors", "size": size, "oid": "0"}]
            files = [{"rfilename": "model.safetensors"}]
            about = {"id": GENESIS, "sha": COMMIT, "siblings": files}
            found = tree if "/tree/" in self.path else about
            return self._send(json.dumps(found).encode(), "application/json")
        return self._send(self.content, "application/octet-stream")

    def do_HEAD(self) -> None:
        """Answer with the headers of the file."""
        self._send(self.content, "application/octet-stream")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@pytest.fixture
def hub(file: Path) -> Iterator[str]:
    """Serve `someone/genesis` on this machine, and give the address."""
    handler = type("Handler", (_Hub,), {"content": file.read_bytes()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_name_is_downloaded_where_that_is_asked_for(
    tmp_path: Path, cache: Path, file: Path, hub: str
) -> None:
    """The command as a user runs it, in a process whose hub is this machine; then offline."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    def run(out: str, *more: str, address: str) -> subprocess.CompletedProcess[str]:
        names = {"HF_ENDPOINT": address, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        return subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "hilum", "import-weights", "auto", GENESIS,
             "--out", str(tmp_path / out), "--modalities", "ct", "--sha256", digest, *more],
            capture_output=True, text=True, check=False, env=os.environ | names,
        )  # fmt: skip

    done = run("one", "--network", address=hub)
    assert done.returncode == 0, done.stderr
    assert "100.0% of the parameters covered" in done.stdout
    assert (cache / "models--someone--genesis" / "snapshots" / COMMIT).is_dir()
    again = run("two", address="http://127.0.0.1:9")
    assert again.returncode == 0, again.stderr
