"""What only shows when all cases are seen together: duplicates, leaks, classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from hilum.core.case import IGNORE, Case

from ..io.mask_values import how, remedy_for
from .case import CaseFindings
from .plausibility import scale_problems
from .report import Problem

MOST_CLASSES = 20


def cohort_problems(
    cases: Sequence[Case], findings: Sequence[CaseFindings], classes: int | None
) -> Iterator[Problem]:
    """Yield the problems of a cohort.

    Args:
        cases: All cases.
        findings: What was found in each.
        classes: Number of classes with background; `None` infers it.
    """
    yield from _leaks(cases)
    yield from _duplicates(cases, findings)
    yield from scale_problems({finding.case: finding.facts for finding in findings})
    held = {
        finding.case: set(finding.facts["label"]["values"])
        for finding in findings
        if "label" in finding.facts
    }
    yield from _unknown_values(held, classes)
    if classes is None:
        yield from _instances([f.facts["label"] for f in findings if "label" in f.facts])


def _leaks(cases: Sequence[Case]) -> Iterator[Problem]:
    by_patient: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        by_patient[case.patient].append(case)
    for patient, own in by_patient.items():
        if len({case.split == "test" for case in own}) > 1:
            yield Problem(
                own[0].id,
                "block",
                "the cases of a patient must be in one split",
                f"patient {patient}: "
                + ", ".join(f"{case.id} in {case.split or 'none'}" for case in own),
                "move them to one split in the manifest",
            )


def _duplicates(cases: Sequence[Case], findings: Sequence[CaseFindings]) -> Iterator[Problem]:
    patients = {case.id: case.patient for case in cases}
    owners: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for finding in findings:
        for name, digest in finding.hashes.items():
            owners[digest].append((finding.case, name))
    for own in owners.values():
        (first, name), *others = own
        for other, other_name in others:
            found = f"{name} of {first} and {other_name} of {other}"
            if other == first:
                remedy = "one file stands for two modalities: mend the manifest"
                yield Problem(other, "block", "modalities must differ", found, remedy)
            elif patients[other] != patients[first]:
                remedy = "remove one, or give both the same patient"
                rule = "two patients must not share a scan"
                yield Problem(other, "block", rule, found, remedy)
            else:
                rule = "a scan should stand in one case only"
                yield Problem(other, "warn", rule, found, "remove one")


def _unknown_values(held: dict[str, set[int]], classes: int | None) -> Iterator[Problem]:
    """Yield labels with values that are no class.

    Without a number of classes, the values of the whole cohort must run from 0 on without a gap.
    """
    seen = set().union(*held.values()) - {IGNORE}
    if seen <= {0}:
        return
    if classes is None:
        classes = next(v for v in range(1, MOST_CLASSES + 2) if v not in seen or v > MOST_CLASSES)
        rule = f"label values must run from 0 on without a gap, up to {MOST_CLASSES}"
        because = f" (no label holds {classes})" if classes <= MOST_CLASSES else ""
    else:
        rule, because = f"label values must be 0 to {classes - 1}, or {IGNORE} for unknown", ""
    for case, values in held.items():
        odd = sorted(value for value in values if value >= classes and value != IGNORE)
        if odd:
            found = ", ".join(map(str, odd[:10])) + (", ..." if len(odd) > 10 else "") + because
            remedy = how(remedy_for(map(float, odd[:6])), "if they mark classes")
            yield Problem(case, "block", rule, found, remedy)


def _instances(facts: Sequence[dict[str, Any]]) -> Iterator[Problem]:
    """Yield a warning if each value marks one node: such masks number nodes, not classes."""
    classes = [len(set(fact["values"]) - {0, IGNORE}) for fact in facts]
    single = all(n == fact["components"] for n, fact in zip(classes, facts, strict=True))
    if single and max(classes, default=0) >= 4:
        yield Problem(
            "",
            "warn",
            "label values should be classes",
            f"up to {max(classes)} values in a case, each in one component",
            "if they number the nodes, replace all of them by 1",
        )
