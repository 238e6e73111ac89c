"""What a report claims beside its numbers is read from the cells, and no reader meets a `nan`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hilum.core.files import write_json
from hilum.evaluation.html.parts import p_value
from hilum.study.grid.cells import Cell
from hilum.study.report import figures, sections
from hilum.study.report import label_efficiency as labels
from hilum.study.report.compare import ArmSummary, others
from hilum.study.report.results import Findings
from hilum.study.report.sentences import finding
from hilum.study.run.estimate import Estimate, lines
from hilum.study.run.ledger import Entry

from .test_compare import judged, rows, study

Make = Callable[..., Entry]
NUMBERS = {"1": 1, "2": 2}


@pytest.fixture
def entry(tmp_path: Path) -> Make:
    """Return what makes a done cell of a number of labels that left a file."""

    def make(name: str, content: dict[str, Any], count: int = 1, draw: int = 0) -> Entry:
        folder = tmp_path / f"cell-{len(list(tmp_path.iterdir()))}"
        write_json(folder / name, content)
        levels = {"labels": count, "split.draw": draw}
        return Entry(Cell("finetune", levels, {}, "k", folder, described=levels), "done", {})

    return make


def split(train: str, test: str = "t") -> dict[str, list[str]]:
    return {"pool": [*train], "train": [*train], "validation": [], "test": [*test]}


def test_labelled_patients_are_part_of_larger_sets_only_where_they_are(entry: Make) -> None:
    def said(*cells: Entry) -> str:
        return " ".join(labels.patients(cells, "labels", NUMBERS))

    one = entry("split.json", split("a"))
    other_draw = entry("split.json", split("xy"), 2, draw=1)
    assert "are part of the larger" in said(one, entry("split.json", split("ab"), 2), other_draw)
    assert "are not all in the larger" in said(one, entry("split.json", split("xy"), 2))
    assert said(one).startswith("The same test patients throughout.")
    assert said(one, entry("split.json", split("ab", "u"), 2)).startswith("Test patients differ")
    assert "of each fold" in said(one, entry("split.json", split("a", "u"), 1, draw=1))
    assert said() == ""


def test_a_rule_has_no_weights_that_nobody_chose(entry: Make, tmp_path: Path) -> None:
    rule = entry("summary.json", {"steps": 0, "parameters": 0})
    last = entry("summary.json", {"steps": 8, "best": None})
    page, asked = tmp_path / "report.html", study()
    assert figures.chosen_by(Findings(page, asked, [rule], [])) == []
    [text] = figures.chosen_by(Findings(page, asked, [rule, last], []))
    assert text.startswith("The weights of 1 cell are the last")


def test_an_interval_is_for_what_was_repeated() -> None:
    arm = ArmSummary("a", "ct", seeds=1, patients=5, metrics={})
    assert others([arm]) == "patients"
    assert others([arm, replace(arm, seeds=2)]) == "patients and seeds"
    assert others([replace(arm, seeds=2, draws=3)]) == (
        "patients, draws of labelled patients and seeds"
    )


def test_an_undefined_metric_has_no_best_arm(tmp_path: Path) -> None:
    asked = study()
    values = dict.fromkeys(("value", "ci_low", "ci_high"), math.nan)
    arm = ArmSummary("a", "", seeds=1, patients=1, metrics={asked.metric: values})
    nothing = sections.answer(Findings(tmp_path / "report.html", asked, [], [], [arm]))
    assert "No arm has a value of Dice" in nothing
    single = replace(arm, metrics={asked.metric: {**values, "value": 0.5}})
    text = sections.answer(Findings(tmp_path / "report.html", asked, [], [], [single]))
    assert "0.500 (1 patient, 1 seed)" in text
    assert "nan" not in nothing + text


def test_an_undefined_difference_is_no_number() -> None:
    pair = judged(study(), rows(0.1))
    ends = {"ci_low": math.nan, "ci_high": math.nan}
    wide = replace(pair.comparison, **ends)
    none = replace(wide, difference=math.nan, n_patients=0, supported=False, note="no patient")
    for one in (wide, none):
        assert "nan" not in finding(replace(pair, comparison=one), "dice", "Dice")
    assert p_value(math.nan) == "–"


def test_a_pretraining_is_known_by_one_run_only_if_it_has_one_seed() -> None:
    mae, vox = {"task": {"name": "mae"}}, {"task": {"name": "vox"}}
    assert sections._about_pretraining([]) == []
    assert sections._about_pretraining([mae | {"seed": 0}, mae | {"seed": 1}]) == []
    [text] = sections._about_pretraining([mae | {"seed": 0}, mae | {"seed": 1}, vox])
    assert text.startswith("1 of 2 pretrainings was run with one seed")


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"labels": 2}, "were drawn once"),
        ({}, "Every labelled patient that was left trained"),
        ({"labels": 2, "choose": "labelling.csv"}, "were chosen by a list, not drawn"),
        ({"labels": 0}, ""),
    ],
)
def test_patients_were_drawn_only_where_there_was_a_draw(
    split: dict[str, Any], said: str, tmp_path: Path
) -> None:
    cell = Cell("finetune", {}, {"split": split}, "k", tmp_path)
    found = Findings(tmp_path / "report.html", study(), [Entry(cell, "done", {})], [])
    assert said in " ".join(sections._about_one_draw(found))
    assert bool(sections._about_one_draw(found)) == bool(said)


def test_time_is_unknown_without_a_like_cell_that_is_done() -> None:
    [text] = lines(Estimate({}, 0.0, 4, ("1 cells that are done",)), None)
    assert "no like cell is done" in text
