"""The report's own parts: label curves, the failure gallery, tables for a paper, references."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hilum.core.citation import Reference
from hilum.core.settings import validate
from hilum.evaluation.charts import svg as charts
from hilum.study.report import gallery
from hilum.study.report import label_efficiency as labels
from hilum.study.report.citations import ALWAYS, TABLES, bibtex, cited, reference
from hilum.study.report.compare import compare, summarise
from hilum.study.report.factors import factors, ranking
from hilum.study.report.measurements import Row
from hilum.study.report.results import Findings
from hilum.study.report.tables import escape, write_tables
from hilum.study.settings import StudySettings


def study(**more: Any) -> StudySettings:
    values: dict[str, Any] = {
        "name": "few_label",
        "store": "nowhere",
        "factors": {
            "pretext": {"scratch": {}, "mae": {"pretrain": {}}},
            "labels": {"1": {"split.labels": 1}, "5": {"split": {"labels": 5}}},
            "seed": [0, 1],
        },
        "reference": {"pretext": "scratch"},
    }
    return validate(StudySettings, values | more)


def rows() -> list[Row]:
    """Dice 0.1 a patient, 0.2 more with five labels, 0.05 more when pretrained; p3 is hard."""
    made = []
    for pretext in ("scratch", "mae"):
        for count in ("1", "5"):
            for seed in (0, 1):
                for number in range(6):
                    dice = 0.3 + 0.1 * (number != 3) + 0.2 * (count == "5")
                    dice += 0.05 * (pretext == "mae") + 0.01 * seed + 0.001 * number
                    metrics = {"dice": dice, "lesion_fn": 2.0 * (number == 3), "lesion_fp": 0.0}
                    levels = {"pretext": pretext, "labels": count, "seed": seed}
                    made.append(Row(levels, "ct+pet", f"case_{number}", f"p{number}", metrics))
    return made


@pytest.fixture
def found(tmp_path: Path) -> Findings:
    own, asked = rows(), (study(), rows(), "ct+pet")
    return Findings(
        tmp_path / "report.html",
        study(),
        [],
        own,
        summarise(own, ["ct+pet"]),
        compare(*asked),
        factors(*asked),
        ranking(*asked),
        labels.needed(*asked),
    )


def test_the_number_of_labels_is_found_in_every_way_to_write_it() -> None:
    assert labels.labels_of(study()) == ("labels", {"1": 1, "5": 5})
    plain = study(factors={"split.labels": [2, 8], "seed": [0]}, reference={})
    assert labels.labels_of(plain) == ("split.labels", {"2": 2, "8": 8})
    none = study(factors={"seed": [0, 1]}, reference={})
    assert labels.labels_of(none) == ("", {})


def test_a_curve_holds_the_mean_over_patients_at_each_number(found: Findings) -> None:
    lines = dict(labels.curves(found))
    assert set(lines) == {"pretext: scratch", "pretext: mae"}
    base = 0.3 + 0.1 * 5 / 6 + 0.001 * 2.5 + 0.005
    assert [(x, round(y, 6)) for x, y, _, _ in lines["pretext: scratch"]] == [
        (1, round(base, 6)),
        (5, round(base + 0.2, 6)),
    ]
    assert lines["pretext: mae"][0][1] == pytest.approx(base + 0.05)


def test_labels_needed_are_where_the_curve_crosses(found: Findings) -> None:
    """Pretrained has 0.05 more at 1 label and rises by 0.2 up to 5; scratch reaches 0.2 at 5."""
    needed = {one.labels: one for one in found.needed}
    assert {(one.line, one.other) for one in found.needed} == {("pretext: mae", "pretext: scratch")}
    assert needed[1].found.needed == 1
    assert needed[5].found.needed == pytest.approx(5**0.75)
    assert labels.text(needed[5].found, 5).startswith("3.3 [")


def test_effects_and_ranks_are_those_that_the_rows_were_made_with(found: Findings) -> None:
    main = {effect.name: effect.estimate.mean for effect in found.factors.main}
    assert main == {"pretext: mae": pytest.approx(0.05), "labels: 5": pytest.approx(0.2)}
    [both] = found.factors.interactions
    assert (both.name, both.estimate.mean) == ("pretext: mae x labels: 5", pytest.approx(0))
    assert found.factors.note == ""
    assert found.ranking is not None
    assert found.ranking.order == tuple(
        f"pretext: {task}, labels: {count}" for count in (5, 1) for task in ("mae", "scratch")
    )


def test_the_hardest_patient_comes_first_with_its_errors(found: Findings) -> None:
    ranked = gallery.worst(found)
    row, mean = ranked[0]
    assert (row.patient, row.levels["pretext"], row.levels["labels"]) == ("p3", "mae", "5")
    assert row.levels["seed"] == 0
    assert mean == pytest.approx(0.3 + 0.1 + 0.025 + 0.005 + 0.003)
    assert "2 missed" in gallery._caption(row, mean, "dice")
    assert len({r.patient for r, _ in ranked}) == len(ranked) == gallery.SHOWN


def test_the_tables_hold_what_the_report_compares(found: Findings, tmp_path: Path) -> None:
    files = write_tables(found, tmp_path / "tables")
    names = ("arms", "comparisons", "cost", "effects", "interactions", "labels_needed", "ranking")
    assert sorted(f.name for f in files) == [f"{n}.{e}" for n in names for e in ("csv", "tex")]
    with (tmp_path / "tables" / "comparisons.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert [row["comparison"] for row in table] == [
        "mae vs. scratch (labels: 1)",
        "mae vs. scratch (labels: 5)",
    ]
    assert all(float(row["difference"]) == pytest.approx(0.05) for row in table)
    assert {(row["verdict"], row["draws"], row["seeds"]) for row in table} == {("better", "1", "2")}
    text = (tmp_path / "tables" / "arms.tex").read_text()
    assert text.count(r"\\") == 5
    assert r"pretext: mae, labels: 5" in text
    assert "few\\_label" in text


def test_latex_is_escaped() -> None:
    assert escape("a_b & 5% > {x}") == r"a\_b \& 5\% $>$ \{x\}"


def test_every_method_with_a_publication_is_cited() -> None:
    ours = {"cross_modal", "cross_modal_contrast", "misalignment", "single", "early"}
    ours |= {"decoders", "late_product"}
    every = {name for table in TABLES for name in table}
    assert {name for name in every if reference(name) is None} == ours


def test_what_a_class_says_is_what_is_cited() -> None:
    for table in TABLES:
        for name in table:
            told = table[name].citation
            assert reference(name) == (None if told is None else Reference(*told))


def test_bibtex_has_one_balanced_entry_per_reference() -> None:
    text = bibtex(["slices", "vit_slices", "gated", "nonsense"])
    assert len(cited(["slices", "vit_slices"])) == 1 + len(ALWAYS)
    entries = re.findall(r"^@(\w+)\{(\w+),$", text, re.MULTILINE)
    assert [key for _, key in entries] == ["slices", "gated", *ALWAYS]
    assert text.count("{") == text.count("}")
    assert "eprint = {1702.01992}" in text


def test_long_names_of_rows_are_broken_not_clipped() -> None:
    name = "masked autoencoder > cross_attention > 5 vs. masked autoencoder > early > 5"
    svg = charts.forest([(name, 0.1, 0.0, 0.2)], "x")
    lines = re.findall(r'text-anchor="end">([^<]*)<', svg)
    assert "masked autoencoder &gt; cross_attention &gt; 5" in lines
    assert "vs. masked autoencoder &gt; early &gt; 5" in lines


def test_an_arm_without_a_value_is_never_the_best(found: Findings) -> None:
    """With NaN among the keys, `sorted` leaves the others in any order."""
    order = [arm.arm for arm in found.ranked()]
    assert len(order) == 4
    for place in range(4):
        arms = [replace(a, metrics={**a.metrics}) for a in reversed(found.arms)]
        arms[place].metrics["dice"] = {**arms[place].metrics["dice"], "value": math.nan}
        left = [arm.arm for arm in replace(found, arms=arms).ranked()]
        assert left[-1] == arms[place].arm
        assert left[:-1] == [name for name in order if name != arms[place].arm]
