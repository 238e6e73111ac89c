"""Stands for a process of the server: its signals, its streams, its end; see `__init__.py`."""

import json
import os
import signal
import socket
import sys

PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT")


def inherited() -> list[int]:
    """Return the numbers of the open files that whoever started this process handed on."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - as below
        try:
            if os.get_inheritable(int(name)):
                found.append(int(name))
        except OSError:  # of the folder that was listed
            pass
    return found


def main() -> None:
    """Hand everything that a new process inherits to the server, and end as the process does."""
    streams = inherited()
    ignored = [n for n in PASSED_ON if signal.getsignal(getattr(signal, n)) == signal.SIG_IGN]
    waiting: list[int] = []
    process = 0

    def pass_on(number: int, frame: object) -> None:
        if process:
            os.kill(process, number)
        else:
            waiting.append(number)

    for name in PASSED_ON:
        if name not in ignored:
            signal.signal(getattr(signal, name), pass_on)
    with socket.socket(socket.AF_UNIX) as server:
        # Without pathlib, which takes half of the start.
        server.connect(f"{os.path.dirname(sys.argv[0])}/socket")  # noqa: PTH120
        given = {"words": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ)}  # noqa: PTH109
        given |= {"ignored": ignored, "numbers": streams, "client": os.getpid()}
        told = json.dumps(given).encode()
        socket.send_fds(server, [len(told).to_bytes(8, "big")], streams)
        for number in streams:  # pipes of `multiprocessing`, whose ends are waited for
            if number > 2:
                os.close(number)
        server.sendall(told)
        with server.makefile() as answers:
            process = int(answers.readline())
            for number in waiting:
                os.kill(process, number)
            code = int(answers.readline() or 1)
    if code < 0:
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
