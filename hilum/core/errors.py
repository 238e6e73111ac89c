"""Errors that a user can mend, and stops that lose nothing.

Every message names, in this order and as far as they are known: the case, the file, the rule, what
was found, and what to do. The command line prints the message in one line and ends with
`exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(ValueError):
    """An input breaks a rule; the message says which, where, and the remedy.

    Args:
        rule: What must hold, as a statement: `"spacing must be positive"`.
        case: Identifier of the case, if the rule is about one.
        file: The file at fault.
        found: What was there instead; shown after "found".
        remedy: What the user can do; shown last.
    """

    exit_code = 2

    def __init__(
        self,
        rule: str,
        *,
        case: str | None = None,
        file: str | Path | None = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.rule, self.case, self.file, self.found, self.remedy = rule, case, file, found, remedy
        where = [f"case {case}"] if case else []
        where += [str(file)] if file else []
        text = ": ".join([*where, rule])
        if found is not None:
            text += f", found {found}"
        if remedy:
            text += f"; {remedy}"
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the trip from a worker process with every part in place."""
        return _rebuild, (type(self), self.rule, self.case, self.file, self.found, self.remedy)


class DataError(UserError):
    """A scan, a label or a cohort breaks a rule."""


class StoreError(UserError):
    """A case store is missing, stale or damaged."""


class SettingsError(UserError):
    """A setting is unknown, of the wrong type or out of bounds."""


class CheckpointError(UserError):
    """A checkpoint or an encoder folder does not fit what should load it."""


class RunError(UserError):
    """A run folder is in use, or belongs to other settings."""


class DiskError(UserError):
    """There is no room, or no permission, to write; what comes next would fail, too."""


class Stopped(Exception):  # noqa: N818 - a clean stop is no error
    """A run was asked to stop, has saved its state, and the same command carries on.

    Args:
        reason: What asked for the stop, such as `"SIGTERM"`.
        exit_code: 130 for Ctrl-C, else 75 (the code that a batch script requeues on).
    """

    def __init__(self, reason: str, exit_code: int = 75) -> None:
        self.reason, self.exit_code = reason, exit_code
        super().__init__(f"stopped by {reason}; run the same command to carry on")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.reason, self.exit_code)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `", did you mean 'x'?"` for the closest known word, or nothing.

    Examples:
        >>> did_you_mean("cros_attention", ["early", "cross_attention"])
        ", did you mean 'cross_attention'?"
        >>> did_you_mean("zebra", ["early"])
        ''
    """
    close = difflib.get_close_matches(word, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""


def _rebuild(
    cls: type[UserError],
    rule: str,
    case: str | None,
    file: str | Path | None,
    found: object,
    remedy: str | None,
) -> UserError:
    return cls(rule, case=case, file=file, found=found, remedy=remedy)
