"""Lets `multiprocessing` spawn warm processes; what it starts for itself stays cold, and light."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from multiprocessing import spawn, util


def by(python: Callable[[], str]) -> None:
    """Spawn from now on by what `python` returns, which is asked at each process."""
    start = util.spawnv_passfds

    def words(**about: int) -> list[str]:
        said = f"from multiprocessing.spawn import spawn_main; spawn_main(**{about})"
        return [python(), "-P", "-c", said, "--multiprocessing-fork"]

    def started(path: str | bytes, words: Sequence[str], files: Sequence[int]) -> int:
        return start(os.fsencode(words[0]), words, files)

    spawn.get_command_line = words
    util.spawnv_passfds = started
