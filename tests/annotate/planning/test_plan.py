"""A plan names patients that do not test, sites in turn, with reason and cost."""

from __future__ import annotations

import csv
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import hilum.annotate
from hilum.annotate.embedding.table import COLUMNS, Embeddings
from hilum.annotate.planning.candidates import candidates_of
from hilum.annotate.planning.costs import expect, usual_cost
from hilum.annotate.planning.plan import _allowed
from hilum.annotate.planning.settings import LabellingSettings
from hilum.cli.app import app
from hilum.core.errors import UserError
from hilum.core.settings import validate
from hilum.datasets.labelling import read_choice
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.segmenter import Segmenter

from ..taking.conftest import Loop

AMONG = "among=labelled"

ABOUT = {"folder": "run", "weights": "ab", "store": "cd", "settings": {}, "modalities": ["ct"]}
ABOUT["window"] = [8, 8, 8]


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("strategy", ["random", "typical", "coverage", "uncertain"])
def test_the_command_writes_whom_to_label_and_why(
    strategy: str, store: CaseStore, segmenter_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "labelling.csv"
    words = ["annotate", "plan", str(store.path), "--labels", "3", "--strategy", strategy, AMONG]
    words += ["--segmenter", str(segmenter_folder), "--out", str(file)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    rows = read(file)
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    assert read_choice(file) == [row["patient"] for row in rows]
    assert {row["patient"] for row in rows} < {f"patient_{n}" for n in range(4)}
    for row in rows:
        assert row["reason"] in done.output
        assert row["strategy"] == strategy
        assert row["costs_from"] == "predicted by the segmenter"
    about = json.loads(file.with_suffix(".json").read_text())
    assert about["left_out_for_testing"] == 2
    assert about["candidates"] == 4
    page = file.with_suffix(".html").read_text("utf-8")
    assert str(file.with_suffix(".html")) in done.output
    assert all(row["patient"] in page and row["reason"] in unescape(page) for row in rows)
    points = re.findall(r"<title>(patient_\d)</title>", page)
    assert sorted(points) == ([f"patient_{n}" for n in range(4)] if strategy != "random" else [])
    again = CliRunner().invoke(app, words)
    assert isinstance(again.exception, UserError)
    assert "must be a new file" in str(again.exception)


def test_the_same_seed_plans_the_same_and_embeddings_may_be_made_before(
    store: CaseStore, encoder_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "embedded"
    hilum.embed(encoder_folder, store.path, out, say=lambda text: None)
    settings = validate(LabellingSettings, {"among": "labelled"})
    found = [
        hilum.annotate.plan(
            store.path, tmp_path / f"{n}.csv", labels=2, encoder=source, settings=settings
        )
        for n, source in enumerate([encoder_folder, out])
    ]
    assert [(one.patient, one.reason) for one in found[0]] == [
        (one.patient, one.reason) for one in found[1]
    ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "too many": ({"labels": 5, "strategy": "random"}, "set --labels from 1 to 4"),
    "no encoder": ({"labels": 1}, "give --encoder FOLDER"),
    "no segmenter": ({"labels": 1, "strategy": "uncertain"}, "give --segmenter FOLDER"),
    "unknown": ({"labels": 1, "strategy": "best"}, "choose from random, typical"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_planned_is_said_and_nothing_written(
    bad: str, store: CaseStore, tmp_path: Path
) -> None:
    given, message = BAD[bad]
    settings = validate(LabellingSettings, {"among": "labelled"})
    with pytest.raises(UserError, match=message):
        hilum.annotate.plan(store.path, tmp_path / "plan.csv", settings=settings, **given)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("there", "out", "message"),
    [
        ("plan.html", "plan.csv", "plan.html: the plan must be a new file"),
        ("plan.json", "plan.csv", "plan.json: the plan must be a new file"),
        ("other", "plan.json", "as in --out .*plan.csv"),
    ],
)
def test_nothing_that_is_there_is_written_over(
    there: str, out: str, message: str, store: CaseStore, tmp_path: Path
) -> None:
    (tmp_path / there).write_text("mine")
    settings = validate(LabellingSettings, {"among": "labelled"})
    with pytest.raises(UserError, match=message):
        hilum.annotate.plan(
            store.path, tmp_path / out, labels=1, strategy="random", settings=settings
        )
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [(there, "mine")]


def test_with_all_labelled_nobody_is_left(store: CaseStore) -> None:
    with pytest.raises(UserError, match="4 labelled, 2 for testing"):
        candidates_of(store, validate(LabellingSettings, {}))


def test_embeddings_of_another_store_are_refused(
    store: CaseStore, encoder_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "embedded"
    found = hilum.embed(encoder_folder, store.path, out, say=lambda text: None)
    found.where([row["patient"] != "patient_2" for row in found.rows]).save(out)
    settings = validate(LabellingSettings, {"among": "labelled"})
    with pytest.raises(UserError, match="none for patient_2"):
        hilum.annotate.plan(
            store.path, tmp_path / "plan.csv", labels=1, encoder=out, settings=settings
        )


def test_whoever_has_a_label_is_known_and_not_chosen(store: CaseStore) -> None:
    store = CaseStore(store.path)
    for name in ("case_0", "case_2"):
        store.rows[name] = store.rows[name] | {"labelled": False}
    found = candidates_of(store, validate(LabellingSettings, {}))
    assert found.names == ["patient_0", "patient_2"]
    assert list(found.known) == ["patient_1", "patient_3"]
    assert usual_cost(store, ["case_1", "case_3"]).nodes == 1
    label = [np.asarray(store[name].label) for name in ("case_1", "case_3")]
    slices = np.mean([(one > 0).any((1, 2)).sum() for one in label])
    assert usual_cost(store, ["case_1", "case_3"]).slices == slices
    assert np.isnan(usual_cost(store, []).nodes)


def test_sites_come_in_turn_and_those_with_labels_last(store: CaseStore) -> None:
    store = CaseStore(store.path)
    sites = {"case_0": "a", "case_1": "a", "case_2": "a", "case_3": "b"}
    for name, site in sites.items():
        store.rows[name] = store.rows[name] | {"site": site, "labelled": name == "case_0"}
    found = candidates_of(store, validate(LabellingSettings, {}))
    allowed = _allowed(found, True)
    assert found.names == ["patient_1", "patient_2", "patient_3"]
    assert allowed([]).tolist() == [False, False, True]
    assert allowed([2]).tolist() == [True, True, False]
    assert allowed([2, 0]).tolist() == [False, True, False]
    assert _allowed(found, False)([]).all()


def test_a_segmenter_says_what_labelling_takes(store: CaseStore, threshold: Segmenter) -> None:
    threshold.strategy.scale.data.fill_(2.0)
    found = expect(threshold, store["case_1"])
    label = np.asarray(store["case_1"].label)
    assert found.nodes == 1
    assert found.slices == pytest.approx((label > 0).any((1, 2)).sum(), abs=2)
    assert 0 < found.doubt[0] < 0.7


@pytest.mark.parametrize("strategy", ["typical", "coverage"])
def test_whoever_is_like_a_patient_with_a_label_comes_last(
    strategy: str, loop: Loop, tmp_path: Path
) -> None:
    """Patients 2 and 3 have labels; 0 is like 2, and 1 like nobody."""
    places = {"case_0": 0.1, "case_1": 50.0, "case_2": 0.0, "case_3": 9.0, "case_4": 1e6}
    rows = [
        dict.fromkeys(COLUMNS, "")
        | {"kind": "case", "id": name, "case": name, "patient": name.replace("case", "patient")}
        | {"split": "train", "labelled": True, "row": n}
        for n, name in enumerate(places)
    ]
    vectors = np.array([[x, -x] for x in places.values()], np.float32)
    folder = Embeddings(vectors, rows, ABOUT).save(tmp_path / "embedded")
    (one,) = hilum.annotate.plan(
        loop.store, tmp_path / "plan.csv", labels=1, strategy=strategy, encoder=folder
    )
    assert one.patient == "patient_1"
    assert one.cost.source == "mean of 2 labelled patients"
    assert one.cost.nodes == 1
