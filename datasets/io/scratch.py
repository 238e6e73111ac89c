"""Arrays too large to be kept in memory lie in a temporary file without a name."""

from __future__ import annotations

import os
import tempfile
from math import prod

import numpy as np

from hilum.core.errors import DataError

LARGE = 2**29
"""Bytes above which an array goes to a file (512 MiB); `TMPDIR` says where."""


def empty(shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
    """Return an array that is not filled; a file that vanishes with it, if it is large.

    Raises:
        DataError: If the disk has no room for it.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= LARGE:
        return np.empty(shape, dtype)
    # The map keeps the file; nothing is left behind, even by a process that is killed.
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):
            # Writing into a map of a full disk would kill the process without a word.
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise DataError(
                    "the folder of temporary files must have room for a large scan",
                    file=tempfile.gettempdir(),
                    found=error.strerror,
                    remedy=f"free {size / 2**30:.1f} GiB, or set TMPDIR to another disk",
                ) from error
        return np.memmap(file, dtype, "w+", shape=shape)
