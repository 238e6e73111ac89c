"""What a check found: problems, facts per case, and how both are shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from hilum.core.counts import many
from hilum.core.errors import UserError
from hilum.core.notes import Note

Severity = Literal["block", "warn", "info"]
ORDER: tuple[Severity, ...] = ("block", "warn", "info")
SHOWN = 10
"""Cases named per rule in a table; `check.json` has them all."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with a case, or with the cohort where `case` is empty.

    Attributes:
        case: Name of the case.
        severity: `block` where training would fail or learn nonsense; `warn` for what must be
            looked at; `info` for what was done as intended, and never blocks.
        rule: What must hold.
        found: What was there instead.
        remedy: What to do.
    """

    case: str
    severity: Severity
    rule: str
    found: str = ""
    remedy: str = ""

    @staticmethod
    def of(error: UserError, case: str) -> Problem:
        """Return an error of reading as a blocking problem."""
        found = [str(error.found)] if error.found is not None else []
        found += [str(error.file)] if error.file else []
        return Problem(case, "block", error.rule, " in ".join(found), error.remedy or "")

    @staticmethod
    def of_note(note: Note) -> Problem:
        """Return what import noted; an error blocks."""
        severity: dict[str, Severity] = {"error": "block", "warning": "warn", "info": "info"}
        return Problem(note.case, severity[note.severity], note.kind, note.text)

    def line(self) -> str:
        """Return the problem as one line."""
        text = f"{self.severity:5} {self.case or 'cohort'}: {self.rule}"
        # What is not there is named, not found.
        between = ": " if self.rule.startswith("no such ") else ", found "
        text += f"{between}{self.found}" if self.found else ""
        return text + (f"; {self.remedy}" if self.remedy else "")


@dataclass
class CheckReport:
    """Every problem of a cohort, and the numbers of each case.

    Attributes:
        problems: Blocking ones first, then in the order of the manifest.
        cases: Facts of each case by name: modalities, grids, ranges, label.
        strict: Whether warnings block, too.
        files: What was written.
    """

    problems: list[Problem] = field(default_factory=list)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    strict: bool = False
    files: list[Path] = field(default_factory=list)

    @property
    def blocking(self) -> bool:
        """Whether something must be fixed first."""
        stops = {"block", "warn"} if self.strict else {"block"}
        return any(problem.severity in stops for problem in self.problems)

    def table(self) -> list[str]:
        """Return the report as lines for a terminal, at most `SHOWN` per rule."""
        shown, hidden, lines = Counter[tuple[str, str]](), Counter[tuple[str, str]](), []
        for problem in self.problems:
            key = (problem.severity, problem.rule)
            shown[key] += 1
            if shown[key] <= SHOWN:
                lines.append(problem.line())
            else:
                hidden[key] += 1
        for (severity, rule), count in hidden.items():
            lines.append(f"{severity:5} and {count} more: {rule}")
        return [*lines, *self.summary()]

    def summary(self) -> list[str]:
        """Return what the cohort holds, and the verdict."""
        facts = list(self.cases.values())
        modalities = Counter(name for fact in facts for name in fact["modalities"])
        patients = len({fact["patient"] for fact in facts})
        splits = Counter(fact["split"] or "no split" for fact in facts)
        bad = {problem.case for problem in self.problems if problem.severity == "block"}
        count = Counter(problem.severity for problem in self.problems)
        lines = [
            f"{many(len(facts), 'case')} of {many(patients, 'patient')} ({_counts(splits)}); "
            f"{_counts(modalities) or 'no scan'}; {sum(f['labelled'] for f in facts)} labelled",
        ]
        orientations = Counter(
            volume["orientation"]
            for fact in facts
            for volume in fact["modalities"].values()
            if "orientation" in volume
        )
        if len(orientations) > 1:
            lines.append(f"orientations differ, which is fine: {_counts(orientations)}")
        lines += [f"wrote {file}" for file in self.files]
        verdict = "nothing blocks"
        if count["block"]:
            verdict = f"{many(count['block'], 'problem')} in {many(len(bad), 'case')} block"
        if count["warn"]:
            verdict += f", {many(count['warn'], 'warning')}"
            verdict += " that block, too (strict)" if self.strict else ""
        return [*lines, verdict]

    def as_json(self) -> dict[str, Any]:
        """Return the whole report."""
        return {
            "blocking": self.blocking,
            "strict": self.strict,
            "problems": [asdict(problem) for problem in self.problems],
            "cases": self.cases,
        }


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.items())
