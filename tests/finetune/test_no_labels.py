"""Without labels the network of a pretraining is tested as it is, and said to be untrained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.core.errors import UserError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.leakage import seen_in
from hilum.datasets.split import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.networks import Output
from hilum.finetune.operating import expected_cases
from hilum.finetune.ready import check
from hilum.finetune.run import finetune
from hilum.finetune.semi_supervised.self_training import self_train
from hilum.finetune.settings import FinetuneSettings
from hilum.pretrain.tasks import synthetic_nodes
from hilum.segmenter.ensemble import load_predictor
from hilum.segmenter.inference.predict_case import predict_case
from hilum.segmenter.operating.apply import mask_of
from hilum.segmenter.status import are_proposals
from hilum.study.commands import plan

from ..pretext_networks import write_network

ENCODER = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}
NODES = {"name": "synthetic_nodes", "short_mm": [4, 10], "long_mm": 20}
SEGMENTS = ("class", "synthetic")


def quiet(text: str) -> None:
    """Say nothing."""


def network_of(store: CaseStore, folder: Path, kinds: tuple[str, str], *seen: str) -> Path:
    """Write the network that a pretraining of that store leaves behind, with random weights."""
    outputs = tuple(
        Output(kind=kind, name=name)  # pyright: ignore[reportArgumentType]
        for kind, name in zip(kinds, ("background", "node"), strict=True)
    )
    write_network(
        folder,
        outputs,
        {"name": "pyramid"},
        architecture=ENCODER,
        modalities=store.modalities,
        spacing=store.spacing,
        patch=(8, 16, 16),
        seen=seen_in(store, seen),
    )
    return folder


@pytest.fixture(scope="module")
def network(store: CaseStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network_of(store, tmp_path_factory.mktemp("nodes"), SEGMENTS, "case_0", "case_1")


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values: dict[str, Any] = {
        "store": store.path,
        "split": {"labels": 0},
        "conditions": ("ct+pet",),
        "trainer": {"tracking": {"mode": "disabled"}},
    }
    return validate(FinetuneSettings, values | changes)


def test_it_is_measured_as_it_is(store: CaseStore, network: Path, tmp_path: Path) -> None:
    asked = settings(store, init_from=network)
    folder = finetune(asked, tmp_path / "run", say=quiet)
    assert (tmp_path / "run" / "DONE").exists()
    assert read_json(tmp_path / "run" / "split.json")["train"] == []
    before, after = load_predictor(network), load_predictor(folder)
    assert are_proposals(after)
    assert after.config.seen == before.config.seen
    assert after.config.tested == seen_in(store, ["case_4", "case_5"])
    for name, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[name], value), name
    # The mask by hand: the more probable of both classes.
    found = read_json(tmp_path / "run" / "test" / "metrics.json")["ct+pet"]
    assert sorted(found) == ["case_4", "case_5"]
    case = store["case_4"]
    mask = predict_case(before, case, asked.inference).argmax(0) == 1
    label = np.asarray(case.label) == 1
    dice = 2 * (mask & label).sum() / (mask.sum() + label.sum())
    assert found["case_4"]["metrics"]["dice"] == pytest.approx(float(dice), abs=1e-6)
    lines: list[str] = []
    finetune(asked, tmp_path / "run", say=lines.append)
    assert lines == [f"{tmp_path / 'run'} is done"]


def test_the_pool_sets_the_point_without_labels(
    store: CaseStore, network: Path, tmp_path: Path
) -> None:
    point = {"by": "expected", "prior_patients": 0, "expected": {"number": 3, "total_ml": None}}
    asked = settings(store, init_from=network, operating_point=point)
    model = load_predictor(finetune(asked, tmp_path / "run", say=quiet))
    chosen = model.config.operating_point
    written = read_json(tmp_path / "run" / "operating_point.json")
    assert written["cases"] == ["case_0", "case_1", "case_2", "case_3"]
    away = np.abs(np.log(np.maximum(written["number"], 1e-9)) - np.log(3))
    limit = chosen.thresholds[0] if chosen.thresholds else 0.5
    assert away[np.abs(np.array(written["thresholds"]) - limit).argmin()] == away.min()
    assert chosen.max_volume_ml == 150
    # Whoever chose is seen; the test is at the point.
    assert model.config.seen == seen_in(store, written["cases"])
    found = read_json(tmp_path / "run" / "test" / "metrics.json")["ct+pet"]
    case = store["case_4"]
    mask = mask_of(predict_case(model, case, asked.inference), case, chosen) == 1
    label = np.asarray(case.label) == 1
    dice = 2 * (mask & label).sum() / max((mask.sum() + label.sum()), 1)
    assert found["case_4"]["metrics"]["dice"] == pytest.approx(float(dice), abs=1e-6)


def test_a_dry_run_says_so(store: CaseStore, network: Path) -> None:
    lines = check(settings(store, init_from=network)).lines()
    assert "0 train, 0 validate, 2 test" in lines[0]
    assert "nothing is trained" in lines[1]
    point = {"by": "expected"}
    lines = check(settings(store, init_from=network, operating_point=point)).lines()
    assert "note: 4 cases of the pool set the operating point, unlabelled" in lines
    # Cases without any modality that the network sees choose nothing.
    asked = settings(store, init_from=network, operating_point=point, modalities=("pet",))
    some = Split(("case_0", "case_5"), (), (), ())
    assert expected_cases(asked, store, some) == ["case_0"]


def test_whom_the_network_learned_from_does_not_test(store: CaseStore, tmp_path: Path) -> None:
    network = network_of(store, tmp_path / "network", SEGMENTS, "case_0", "case_4")
    with pytest.raises(UserError, match="learned from"):
        finetune(settings(store, init_from=network), tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "set init_from to one folder"),
        ({"modalities": ("ct",)}, "fit the store as it is: modalities"),
        ({"split": {"labels": 0, "validation": 1}}, "nobody validates"),
        ({"synthetic": {"replay": 0.5}}, "nothing is trained"),
        ({"pseudo": {"segmenter": "somewhere"}}, "nothing is trained"),
    ],
)
def test_what_needs_labels_or_another_network_is_refused(
    store: CaseStore, network: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    start = {"init_from": network} if changes else {}
    with pytest.raises(UserError, match=words):
        finetune(settings(store, **start, **changes), tmp_path / "run", say=quiet)
    assert not (tmp_path / "run").exists()


def test_rounds_need_labels(store: CaseStore, network: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no rounds"):
        self_train(settings(store, init_from=network), tmp_path / "run", 1, say=quiet)
    assert not (tmp_path / "run").exists()


def test_a_network_that_does_not_segment_is_refused(store: CaseStore, tmp_path: Path) -> None:
    network = network_of(store, tmp_path / "network", ("reconstruction", "reconstruction"))
    with pytest.raises(UserError, match="must segment"):
        finetune(settings(store, init_from=network), tmp_path / "run", say=quiet)


@pytest.mark.parametrize(("task", "ok"), [(NODES, True), ({"name": "masked_autoencoder"}, False)])
def test_a_study_plans_it_before_the_network_is_there(
    store: CaseStore,
    tmp_path: Path,
    task: dict[str, Any],
    ok: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The scans of the tiny cohort have no fat between tissues, which is another test's matter.
    monkeypatch.setattr(synthetic_nodes, "check_places", lambda *_: None)
    file = tmp_path / "study.yaml"
    file.write_text(
        f"""
name: none
store: {store.path}
factors:
  pretext: {{one: {{pretrain: {{task: {task}}}, transfer.parts: whole}}}}
  labels: {{n=0: {{split.labels: 0}}}}
pretrain: {{encoder: {ENCODER}, patch: [8, 16, 16], trainer: {{steps: 1, batch_size: 2}}}}
finetune: {{encoder: {ENCODER}, patch: [8, 16, 16]}}
"""
    )
    if ok:
        plan(file, tmp_path / "out", [])
    else:
        with pytest.raises(UserError, match=r"n=0.*must segment"):
            plan(file, tmp_path / "out", [])
