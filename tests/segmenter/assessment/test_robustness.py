"""The matrix holds what the segmenter loses, per patient, and refuses cases that trained it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.settings import validate
from hilum.datasets.leakage import seen_in
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.assessment.robustness import cases_to_measure, robustness
from hilum.segmenter.assessment.robustness_report import lines
from hilum.segmenter.assessment.robustness_rows import changed_modality, rows_of
from hilum.segmenter.assessment.robustness_settings import RobustnessSettings
from hilum.segmenter.segmenter import Segmenter
from hilum.training.wandb_offline_reader import read_run

SMALL = {
    "shifts": (0, 12),
    "scales": (0.5, 1),
    "resolutions": (0,),
    "precision": "32",
    "tracking": {"mode": "disabled"},
}


def settings(**changes: object) -> RobustnessSettings:
    return validate(RobustnessSettings, SMALL | changes)


def test_rows_change_only_what_a_condition_uses() -> None:
    rows = rows_of(settings(), ("ct+pet", "ct", "pet"), "pet")
    names = [row.name for row in rows]
    assert names[:4] == [
        "ct+pet",
        "ct+pet, values x 0.5",
        "ct+pet, shift 12 mm, values x 0.5",
        "ct+pet, shift 12 mm",
    ]
    assert names.count("ct") == 1
    assert len(names) == len(set(names)) == 4 + 1 + 4


def test_the_whole_grid_has_every_combination() -> None:
    asked = settings(resolutions=(0, 5), full=True)
    assert len(rows_of(asked, ("ct+pet",), "pet")) == 2 * 2 * 2


def test_the_matrix_is_that_of_a_segmenter_known_by_hand(
    threshold: Segmenter, store: CaseStore, tmp_path: Path
) -> None:
    """Uptake above 4 SUV is called a node: half the uptake and a shift cost what they must."""
    ids = ["case_0", "case_1", "case_2", "case_3"]
    table = robustness(threshold, store, ids, tmp_path, settings())
    found = {str(line["row"]): line for line in table}
    assert float(found["ct+pet"]["dice"]) > 0.9
    assert "dice_change" not in found["ct+pet"]
    # Nodes have an SUV of 8: half of it is no more above 4.
    halved = found["ct+pet, values x 0.5"]
    by_hand = []
    for name in ids:
        case = store[name]
        pet = np.asarray(case.images[case.modalities.index("pet")], float) * 0.5
        mask, label = pet > 4, np.asarray(case.label) == 1
        by_hand.append(2 * (mask & label).sum() / (mask.sum() + label.sum()))
    assert_allclose(float(halved["dice"]), np.mean(by_hand), atol=0.02)
    moved = found["ct+pet, shift 12 mm"]
    assert float(moved["dice_change_ci_high"]) < -0.3
    assert_allclose(
        float(moved["dice_change"]), float(moved["dice"]) - float(found["ct+pet"]["dice"])
    )
    assert found["ct"]["patients"] == 4
    with (tmp_path / "robustness.csv").open() as stream:
        assert [row["row"] for row in csv.DictReader(stream)] == list(found)
    page = (tmp_path / "robustness.html").read_text()
    assert "shift 12 mm" in page
    assert "<svg" in page
    assert lines(table)[1].startswith("ct+pet ")


def test_cases_of_the_run_that_test_are_taken_and_those_that_trained_refused(
    store: CaseStore, tmp_path: Path
) -> None:
    folder, moved = tmp_path / "run" / "segmenter", tmp_path / "moved"
    split = {"train": ["case_0"], "validation": ["case_1"], "test": ["case_4"]}
    write_json(folder.parent / "split.json", split)
    seen = seen_in(store, ["case_0", "case_1"]).model_dump(mode="json")
    for place in (folder, moved):
        write_json(place / "config.json", {"seen": seen})
    assert cases_to_measure(folder, store, settings()) == ("case_4",)
    assert cases_to_measure(moved, store, settings()) == ("case_2", "case_3", "case_4", "case_5")
    for place in (folder, moved):
        with pytest.raises(DataError, match=r"case_1.*may have trained"):
            cases_to_measure(place, store, settings(cases=("case_1",)))
    with pytest.raises(DataError, match="found nobody"):
        cases_to_measure(folder, store, settings(cases=("nobody",)))


def test_an_unknown_modality_is_named() -> None:
    assert changed_modality(settings(), ("ct", "pet")) == "pet"
    assert changed_modality(settings(), ("ct", "mr_t1")) == "mr_t1"
    with pytest.raises(SettingsError, match=r"moved must be one of ct, pet.*did you mean 'pet'"):
        changed_modality(settings(moved="pett"), ("ct", "pet"))


def test_without_a_case_that_has_it_all_there_is_no_matrix(
    threshold: Segmenter, store: CaseStore, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"labelled case with ct\+pet"):
        robustness(threshold, store, ["case_5"], tmp_path, settings())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_matrix_is_a_wandb_table_that_an_offline_run_keeps(
    threshold: Segmenter, store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read back from the run's own file: every row and every column of `robustness.csv`."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    asked = settings(tracking={"mode": "offline", "project": "toys", "group": "g"})
    table = robustness(threshold, store, ["case_0", "case_1"], tmp_path, asked)
    log = read_run(tmp_path)
    assert (log.project, log.group, log.job_type) == ("toys", "g", "test")
    assert log.config["scales"] == [0.5, 1]
    (row,) = [row["robustness"] for row in log.history if "robustness" in row]
    (file,) = tmp_path.rglob(Path(row["path"]).name)
    kept = json.loads(file.read_text())
    with (tmp_path / "robustness.csv").open() as stream:
        lines_of_csv = list(csv.DictReader(stream))
    assert kept["columns"][:2] == ["row", "modalities"]
    assert [line[0] for line in kept["data"]] == [line["row"] for line in lines_of_csv]
    place = kept["columns"].index("dice")
    assert [line[place] for line in kept["data"]] == pytest.approx([r["dice"] for r in table])


def test_evaluate_knows_the_matrix_too(tmp_path: Path) -> None:
    """`hilum evaluate --robustness` is `hilum robustness`, settings and all."""
    run = CliRunner()
    folder = [str(tmp_path / "segmenter"), str(tmp_path / "store"), "--out", str(tmp_path / "o")]
    ours = run.invoke(app, ["evaluate", *folder, "--robustness"]).exception
    theirs = run.invoke(app, ["robustness", *folder]).exception
    assert "no case store: store.json is missing" in str(ours)
    assert str(ours) == str(theirs)
    wrong = run.invoke(app, ["evaluate", *folder, "--robustness", "shift=3"]).exception
    assert "did you mean 'shifts'" in str(wrong)
    plain = run.invoke(app, ["evaluate", *folder, "a=1"]).exception
    assert "unknown setting" in str(plain)


def test_what_one_patient_cannot_tell_is_no_nan() -> None:
    nan = float("nan")
    ends = {f"dice{end}": nan for end in ("_ci_low", "_ci_high")}
    line = {"row": "ct", "patients": 1, "dice": 0.5, **ends, "dscagg": 0.5, "f1agg": nan}
    line |= {f"dice_change{end}": nan for end in ("", "_ci_low", "_ci_high")}
    head, text = lines([line])
    assert "nan" not in text
    assert text.split() == ["ct", "1", "0.500", "0.500", "–", "–"]
    assert head.index("DSCagg") == text.rindex("0.500")
