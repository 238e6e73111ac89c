"""One patient that a plan names."""

from __future__ import annotations

from dataclasses import dataclass

from .costs import Cost


@dataclass(frozen=True)
class Choice:
    """A patient to label.

    Attributes:
        patient: Name.
        cases: All of the patient's.
        site: Centre or scanner.
        reason: Why, in words.
        cost: What labelling will take.
    """

    patient: str
    cases: tuple[str, ...]
    site: str
    reason: str
    cost: Cost
