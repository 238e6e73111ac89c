"""A split of patients: who is in which part, in words, and that no patient is in two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hilum.core.errors import DataError

from .store.case_store import CaseStore
from .store.index import scan_hashes


@dataclass(frozen=True)
class Split:
    """Names of cases. `pool` is every case that may be seen without its label.

    Those in `left_out` are in no part, because somebody asked for it.
    """

    pool: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def as_json(self) -> dict[str, list[str]]:
        """Return plain lists."""
        return {name: list(cases) for name, cases in asdict(self).items()}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Split:
        """Read what `as_json` wrote."""
        return Split(**{name: tuple(cases) for name, cases in value.items()})


def left_out_line(split: Split) -> list[str]:
    """Return in a line which cases are left out, nothing if none is."""
    if not split.left_out:
        return []
    return [f"left out of everything, as asked for: {', '.join(split.left_out)}"]


def counted(store: CaseStore, split: Split) -> str:
    """Return in words how many patients, and cases where they are more, do what."""

    def count(cases: Sequence[str]) -> str:
        patients = len({store.row(name)["patient"] for name in cases})
        return f"{patients}" if patients == len(cases) else f"{patients} ({len(cases)} cases)"

    return (
        f"{count(split.train)} train, {count(split.validation)} validate, {count(split.test)} "
        f"test; {count(split.pool)} in the pool"
    )


def check_leakage(store: CaseStore, split: Split) -> None:
    """Raise an error if a test patient is in any other part, or a training patient validates."""
    patients = {
        name: {store.rows[case]["patient"] for case in cases}
        for name, cases in split.as_json().items()
    }
    for one, other in (
        ("test", "pool"),
        ("test", "train"),
        ("test", "validation"),
        ("validation", "train"),
    ):
        both = patients[one] & patients[other]
        if both:
            raise DataError(
                f"no patient may be in {one} and {other}",
                found=", ".join(sorted(both)[:3]),
                remedy="mend the split",
            )
    if isinstance(store.place, Mapping):
        _check_scans(store, split)


def _check_scans(store: CaseStore, split: Split) -> None:
    """Raise an error if a scan of a test patient is in another part under another name.

    In one store a patient has one name; two stores may have given the same patient two.
    """
    test = {scan: case for case in split.test for scan in scan_hashes(store, case)}
    for case in dict.fromkeys((*split.pool, *split.train, *split.validation)):
        found = next((test[scan] for scan in scan_hashes(store, case) if scan in test), None)
        if found is not None:
            raise DataError(
                "no scan may be in test and in another part",
                case=case,
                found=f"the same scan in {found}, which tests",
                remedy=f"leave one out: split.leave_out=[{case}]",
            )
