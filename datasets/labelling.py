"""Whom a labelling plan names: `labelling.csv`, as `hilum annotate plan` writes it."""

from __future__ import annotations

import csv
from collections.abc import Container, Iterable
from pathlib import Path

from hilum.core.errors import DataError, did_you_mean


def read_choice(file: str | Path) -> list[str]:
    """Return the patients that a `labelling.csv` names, in its order.

    Raises:
        DataError: If it is no such file, or names nobody, or one patient twice.
    """
    path = Path(file)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            names = [(row["patient"] or "").strip() for row in csv.DictReader(stream)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            "the choice must be CSV with a column patient",
            file=path,
            found=error if isinstance(error, OSError) else "none",
            remedy="write it with `hilum annotate plan STORE --labels N --out labelling.csv`",
        ) from None
    names = [name for name in names if name]
    if not names:
        raise DataError(
            "the choice must name a patient",
            file=path,
            found="none",
            remedy="plan again: `hilum annotate plan STORE --labels N --out labelling.csv`",
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            f"a patient may be chosen once, {twice} is twice",
            file=path,
            remedy="remove one of the lines",
        )
    return names


def chosen_patients(
    file: Path, patients: Iterable[str], labelled: Container[str], test: Container[str]
) -> list[str]:
    """Return the patients that a file names, in its order.

    Args:
        file: `labelling.csv`.
        patients: All of the store.
        labelled: Those that may train.
        test: Those that test.

    Raises:
        DataError: If one is not in the store, tests, or has no label.
    """
    names = read_choice(file)
    for name in names:
        if name not in patients:
            raise DataError(
                f"the store must have patient {name}{did_you_mean(name, patients)}",
                file=file,
                remedy="plan again on this store",
            )
        if name in test:
            raise DataError(
                f"patient {name} tests, and may not train",
                file=file,
                remedy="plan again with the split settings of the run",
            )
    if lacking := [name for name in names if name not in labelled]:
        raise DataError(
            "every chosen patient needs a label",
            file=file,
            found=f"none for {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}",
            remedy="take their labels in with `hilum annotate take`, or name fewer",
        )
    return names
