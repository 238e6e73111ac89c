"""What `hilum finetune` would do, with folds or rounds, too: all is checked, nothing runs."""

from __future__ import annotations

from .folds import of_fold
from .ready import check
from .semi_supervised.self_training import check_rounds
from .settings import FinetuneSettings


def planned(
    settings: FinetuneSettings, *, folds: int | None = None, rounds: int | None = None
) -> list[str]:
    """Return what would run, a line each: for `--dry-run`.

    Args:
        settings: Of every run.
        folds: How many train, each on its own patients.
        rounds: How many use pseudo-labels of the one before.

    Raises:
        UserError: What the runs would raise before their first step.
    """
    if rounds:
        names = check_rounds(settings, rounds)
        more = f"rounds: {rounds} more runs alike, each with pseudo-labels of the one before on "
        return [*check(settings).lines(), f"{more}{len(names)} cases"]
    if not folds:
        return check(settings).lines()
    each = [check(of_fold(settings, folds, fold)).lines() for fold in range(folds)]
    who = [f"fold {fold} of {folds}, {lines[0]}" for fold, lines in enumerate(each, 1)]
    return [*who, *dict.fromkeys(line for lines in each for line in lines[1:])]
