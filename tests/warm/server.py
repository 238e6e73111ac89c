"""Imports what commands need, and forks a process for each client; see `__init__.py`."""

from __future__ import annotations

import atexit
import fcntl
import functools
import gc
import importlib
import json
import multiprocessing.process
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import threading
import types
import warnings
from pathlib import Path
from typing import Any

from hilum.core.plugins import offered

IMPORTED = (
    "hilum.annotate",
    "hilum.cli.app",
    "hilum.finetune.run",
    "hilum.pretrain.run",
    "hilum.segmenter.prediction.patient",
    "hilum.study.run.local",
    "hilum.study.report.report",
    "wandb",
    "pytest",
    "timm",
    "torch._dynamo.backends.debugging",
)


class Server:
    """Forks for its clients, and tells each how its process ended.

    Args:
        path: Of the socket, in a folder of its own that goes with the server.
    """

    def __init__(self, path: str) -> None:
        self.folder = Path(path).parent
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(path)
        self.listening.listen(64)
        self.look = selectors.DefaultSelector()
        self.look.register(self.listening, selectors.EVENT_READ)
        self.look.register(0, selectors.EVENT_READ)
        self.running: dict[int, tuple[int, socket.socket]] = {}
        """By a descriptor of the process: its number and its client."""

    def serve(self) -> dict[str, Any]:
        """Work until standard input ends; returns, in a fork, what the fork is to do."""
        print("ready", flush=True)
        while True:
            for key, _ in self.look.select():
                if key.fileobj is self.listening:
                    if asked := self.begin():
                        return asked
                elif key.fd in self.running:
                    self.tell(key.fd)
                elif key.fd == 0:
                    for process, _ in self.running.values():
                        os.kill(process, signal.SIGKILL)
                    shutil.rmtree(self.folder)
                    os._exit(0)
                else:  # a client was killed: so is its process
                    self.look.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)

    def begin(self) -> dict[str, Any] | None:
        """Fork for a client; returns, in the fork, what it asks for."""
        client = self.listening.accept()[0]
        given, streams = received(client)
        process = os.fork()
        if process == 0:
            self.look.close()
            self.listening.close()
            client.close()
            return given | {"streams": streams}
        for stream in streams:
            os.close(stream)
        descriptor = os.pidfd_open(process)
        self.running[descriptor] = process, client
        self.look.register(descriptor, selectors.EVENT_READ)
        self.look.register(client, selectors.EVENT_READ, process)
        client.sendall(f"{process}\n".encode())
        return None

    def tell(self, descriptor: int) -> None:
        """Take leave of a process that has ended, and tell its client how."""
        process, client = self.running.pop(descriptor)
        _, status = os.waitpid(process, 0)
        self.look.unregister(descriptor)
        os.close(descriptor)
        if client in self.look.get_map():
            self.look.unregister(client)
            client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        client.close()


def received(client: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Return what a client asks for, and the files that it has open."""
    size, streams, _, _ = socket.recv_fds(client, 8, 253)
    left, text = int.from_bytes(size, "big"), b""
    while len(text) < left:
        text += client.recv(left - len(text))
    return json.loads(text), list(streams)


def become(given: dict[str, Any], client: str) -> tuple[str, str, bool]:
    """Take over what a new process inherits, and return how its program is named, and which."""
    numbers = given["numbers"]
    apart = [fcntl.fcntl(s, fcntl.F_DUPFD_CLOEXEC, max(numbers) + 1) for s in given["streams"]]
    for stream in given["streams"]:
        os.close(stream)
    for number, stream in zip(numbers, apart, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.getppid = functools.partial(parent_of, given["client"])
    os.setsid()
    os.chdir(given["cwd"])
    multiprocessing.process.ORIGINAL_DIR = given["cwd"]  # pyright: ignore[reportAttributeAccessIssue]
    os.environ.clear()
    os.environ.update(given["env"])
    # What the server was given to ignore, as in the background of a script, is not passed on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in given["ignored"]:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.executable = client
    sys.path[:0] = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    offered.cache_clear()  # other distributions may lie there
    sys.modules["spawned"].by(lambda: client)
    words, safe = list(given["words"]), False
    while words and words[0] in ("-P", "-W"):
        if words.pop(0) == "-W":
            warnings.simplefilter(words.pop(0))  # pyright: ignore[reportArgumentType]
        else:
            safe = True
    kind = words.pop(0) if words[0] in ("-m", "-c") else "file"
    name, sys.argv = words[0], [kind if kind == "-c" else words[0], *words[1:]]
    return kind, name, safe


def parent_of(client: int) -> int:
    """Return the process that started a client: 1, as always, once it or its parent is gone."""
    try:
        return int(Path(f"/proc/{client}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return 1


def run(kind: str, name: str, safe: bool) -> None:
    """Do what the interpreter does with a module, code or a file."""
    if not safe:
        sys.path.insert(0, str(Path(name).parent.resolve()) if kind == "file" else "")
    if kind == "-m":
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(name, "<string>", "exec"), main.__dict__)
    else:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        main.__file__ = name
        exec(compile(Path(name).read_text("utf-8"), name, "exec"), main.__dict__)


def ended(kind: str, name: str, safe: bool) -> int:
    """Run a program, and return its exit code, or minus the signal that is to end it.

    With what the interpreter does at its end, but for taking down every module, which would copy
    the memory that is shared with the server.
    """
    code = 0
    try:
        run(kind, name, safe)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        code = end.code & 0xFF if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return code


if __name__ == "__main__":  # collected by name, too
    sys.path.append(str(Path(__file__).parent))
    importlib.import_module("spawned")
    sys.path.pop()
    for module in IMPORTED:
        importlib.import_module(module)
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise SystemExit("a process with threads cannot be forked")
    os.fsync = os.fstat  # nobody waits for the disk, as in tests/conftest.py
    gc.collect()
    gc.freeze()  # no collection of a fork goes through what is shared
    asked = Server(sys.argv[1]).serve()
    left = ended(*become(asked, sys.argv[2]))
    if left < 0:
        signal.signal(-left, signal.SIG_DFL)
        os.kill(os.getpid(), -left)
    os._exit(left)
