"""Say where the labelling stands: the Python side of `hilum annotate status`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.core.files import write_text
from hilum.core.outputs import check_output_file
from hilum.core.undefined import with_interval
from hilum.datasets.manifest import read_manifest
from hilum.evaluation.charts.svg import intervals
from hilum.evaluation.html.rendering import render

from ..taking.versions import versions
from .curve import Gain, Point, curve_of, differing, gain_of, of_networks, runs_in
from .rounds import Round, rounds_of

SAYS = b" patients have labels, "
"""In every page of ours."""


@dataclass(frozen=True)
class Standing:
    """Where the labelling stands.

    Attributes:
        labelled: Patients with a label that do not test.
        unlabelled: Patients without one.
        tested: Patients that test.
        rounds: What each round brought.
        curve: What runs reached, by labelled patients.
        gain: What the next patients may bring; nothing where no curve tells.
        notes: What of the runs is left out of the curve, and what it mixes.
    """

    labelled: int
    unlabelled: int
    tested: int
    rounds: list[Round]
    curve: list[Point]
    gain: Gain | None
    notes: tuple[str, ...] = ()


def status(
    manifest: str | Path,
    *,
    labels: str | Path | None = None,
    runs: Sequence[str | Path] = (),
    more: int = 5,
    out: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> Standing:
    """Say how many patients have labels, what the rounds brought, and what more would bring.

    Args:
        manifest: The cohort.
        labels: Versions of labels; `labels` next to the manifest if not given.
        runs: Folders with fine-tuning runs of its cases, for the learning curve.
        more: Patients whose labels are thought of next.
        out: A page to write, if any.
        say: Gets it in lines.
    """
    if out is not None:
        check_output_file(out, "annotate status", lambda file: SAYS in file.read_bytes())
    path = Path(manifest)
    cases = read_manifest(path)
    tested = {case.patient for case in cases if case.split == "test"}
    labelled = {case.patient for case in cases if case.labelled} - tested
    rest = {case.patient for case in cases} - tested - labelled
    place = path.parent / "labels" if labels is None else Path(labels)
    tested_runs = runs_in(runs, {case.id: case.patient for case in cases})
    learned = of_networks(tested_runs)
    curve, tables = curve_of(learned)
    found = Standing(
        len(labelled),
        len(rest),
        len(tested),
        rounds_of(versions(place)),
        curve,
        gain_of(tables, more),
        _notes(len(tested_runs) - len(learned), differing(learned)),
    )
    for line in lines(found):
        say(line)
    if out is not None:
        write_page(Path(out), found)
        say(f"the page is {out}")
    return found


def lines(found: Standing) -> list[str]:
    """Return it for a terminal."""
    told = [
        f"{found.labelled} patients have labels, {found.unlabelled} have none, {found.tested} test"
    ]
    for one in found.rounds:
        told.append(
            f"round {one.number}: {one.cases} cases by {', '.join(one.raters)}; nodes {one.added} "
            f"added, {one.removed} removed, {one.redrawn} redrawn, {one.kept} kept; proposals had "
            f"Dice {_ends(one.dice, one.low, one.high)}"
        )
    for one in found.curve:
        told.append(
            f"{one.patients} labelled patients: test Dice {_ends(one.dice, one.low, one.high)} "
            f"({one.runs} runs)"
        )
    told += [f"note: {note}" for note in found.notes]
    if found.gain is not None:
        gain = found.gain
        told.append(
            f"{gain.more} more patients: {_ends(gain.dice, gain.low, gain.high, '+')} Dice, if the "
            "curve goes on as it did"
        )
    return told


def write_page(path: Path, found: Standing) -> None:
    """Write a page that needs no other file and no network."""
    points = [(float(p.patients), p.dice, p.low, p.high) for p in found.curve]
    gain = found.gain
    text = render(
        "annotate/standing/status.html.j2",
        title="Labelling",
        labelled=found.labelled,
        unlabelled=found.unlabelled,
        tested=found.tested,
        rounds=[
            [
                *(str(one.number), str(one.cases), ", ".join(one.raters)),
                *(str(n) for n in (one.added, one.removed, one.redrawn, one.kept)),
                _ends(one.dice, one.low, one.high),
            ]
            for one in found.rounds
        ],
        curve=intervals([("mean of the test patients", points)], "labelled patients", "Dice"),
        gain="" if gain is None else _ends(gain.dice, gain.low, gain.high, "+"),
        more="" if gain is None else str(gain.more),
        notes=found.notes,
    )
    write_text(path, text)


def _notes(rules: int, mixed: Sequence[str]) -> tuple[str, ...]:
    notes = [f"{rules} runs of a rule are left out of the curve: they learn nothing"] * bool(rules)
    if mixed:
        few = ", ".join(mixed[:5]) + (f" and {len(mixed) - 5} more" if len(mixed) > 5 else "")
        notes.append(
            f"runs differ in {few}: their curve mixes methods; name folders of one by --runs"
        )
    return tuple(notes)


def _ends(value: float, low: float, high: float, sign: str = "") -> str:
    return with_interval(value, low, high, f"{sign}.3f")
