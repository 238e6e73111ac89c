"""The arrays of a store: memory maps, or compressed in blocks for network disks."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from hilum.core.errors import StoreError

BLOCK = 32
"""Sides of what is decompressed at once, voxels; a patch touches few and wastes little."""
CHUNK = 128


class CompressedArray:
    """A Blosc2 array in a file; indexing gives NumPy arrays. Final.

    Args:
        file: Ends in `.b2nd`.
    """

    def __init__(self, file: Path) -> None:
        self._array = _blosc2().open(str(file), mode="r", mmap_mode="r", dparams={"nthreads": 1})
        # A context of decompression belongs to one thread at a time.
        self._lock = Lock()
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.dtype: np.dtype = np.dtype(self._array.dtype)
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        with self._lock:
            return np.asarray(self._array[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[...]
        return whole if dtype is None else whole.astype(dtype)

    def __len__(self) -> int:
        return self.shape[0]


Voxels = np.ndarray | CompressedArray
"""What can be indexed like an array."""


def open_array(file: Path, case: str) -> Voxels:
    """Return an array that reads what is asked of it: a map of `.npy`, or blocks of `.b2nd`.

    Raises:
        StoreError: If the file is missing or damaged.
    """
    try:
        if file.suffix == ".b2nd":
            return CompressedArray(file)
        return np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(
            "the array must be readable",
            case=case,
            file=file,
            found=error,
            remedy="run `hilum prepare` again",
        ) from None


def write_array(file: Path, array: np.ndarray) -> None:
    """Write an array `[..., D, H, W]` as `.npy`, or as `.b2nd` without loss (Zstandard)."""
    if file.suffix == ".npy":
        np.save(file, array, allow_pickle=False)
        return
    blosc2 = _blosc2()
    lead = (1,) * (array.ndim - 3)
    sides = array.shape[-3:]
    blosc2.asarray(
        np.ascontiguousarray(array),
        urlpath=str(file),
        mode="w",
        chunks=(*lead, *(min(CHUNK, n) for n in sides)),
        blocks=(*lead, *(min(BLOCK, n) for n in sides)),
        cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5, "nthreads": 1},
    )


def _blosc2() -> Any:
    try:
        import blosc2
    except ImportError:
        raise StoreError(
            "a compressed store needs Blosc2", remedy="pip install hilum[blosc2]"
        ) from None
    return blosc2
