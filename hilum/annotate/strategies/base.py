"""The contract of a strategy: from what is known of patients to whom to label next, and why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from hilum.core.errors import SettingsError

Allowed = Callable[[Sequence[int]], np.ndarray]
"""Gets who is chosen; says of each candidate whether it may be next, as `[N]` booleans."""


class Pick(NamedTuple):
    """A patient to label: `who`, the number among the candidates, and the reason in words."""

    who: int
    reason: str


@dataclass(frozen=True)
class Pool:
    """What a strategy may look at; never a label of a candidate, nor a test patient.

    Attributes:
        names: Of the candidates.
        generator: For draws.
        vectors: Standardised embeddings `[N, C]`, where the strategy needs them.
        known: Those of patients that have labels already, `[K, C]`.
        doubt: How unsure a segmenter is of each candidate in each class, `[N, classes]`, 0 to 1.
    """

    names: Sequence[str]
    generator: np.random.Generator
    vectors: np.ndarray | None = None
    known: np.ndarray | None = None
    doubt: np.ndarray | None = None

    @property
    def embedded(self) -> tuple[np.ndarray, np.ndarray]:
        """Embeddings of the candidates and of those who have labels.

        Raises:
            SettingsError: If there are none.
        """
        if self.vectors is None:
            raise SettingsError("the strategy needs embeddings", remedy="give --encoder FOLDER")
        empty = np.zeros((0, self.vectors.shape[1]), self.vectors.dtype)
        return self.vectors, empty if self.known is None else self.known


class Strategy(ABC):
    """Chooses patients one after another. Subclasses are final.

    Attributes:
        needs: `embeddings`, `segmenter` (which gives doubt and embeddings), or nothing.
        citation: Authors, title, venue, year, and `arXiv:...` or `doi:...`.
    """

    needs: ClassVar[Literal["", "embeddings", "segmenter"]] = ""
    citation: ClassVar[tuple[str, str, str, int, str] | None] = None

    @abstractmethod
    def pick(self, pool: Pool, number: int, allowed: Allowed) -> list[Pick]:
        """Return whom to label, the first first.

        Args:
            pool: The candidates.
            number: How many; never more than there are.
            allowed: Which candidates may be next; always some.
        """


def distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return Euclidean distances `[A, B]` of rows; as a product of matrices, hence fast."""
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))
