"""Going on from one's own segmenter begins where that ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.seen import patient_hash
from hilum.core.settings import validate
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.ready import parts_of
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings


def settings(store: CaseStore, **changes: Any) -> FinetuneSettings:
    trainer = {"steps": 2, "batch_size": 1, "validate_every": 1, "precision": "32"}
    values = {
        "store": str(store.path),
        "encoder": {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]},
        "patch": (8, 12, 16),
        "split": {"labels": 2, "validation": 1},
        "trainer": trainer | {"tracking": {"mode": "disabled"}},
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
        "evaluate_test": False,
    }
    return validate(FinetuneSettings, values | changes)


@pytest.fixture(scope="module")
def done(store: CaseStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("continue") / "run"
    finetune(settings(store), out, say=lambda text: None)
    return out


def test_unchanged_data_starts_at_the_old_validation_dice(done: Path, store: CaseStore) -> None:
    old = read_json(done / "summary.json")["best"]
    module, _ = parts_of(settings(store, encoder=None, init_from=str(done / "segmenter")))
    module.eval()
    found: dict[str, float] = {}
    module.log = lambda name, value, **more: found.update({name: value})  # pyright: ignore
    for index, name in enumerate(read_json(done / "split.json")["validation"]):
        module.validation_step({"case": [name]}, index)
    module.on_validation_epoch_end()
    assert found["val/dice"] == pytest.approx(old, abs=1e-6)


def test_with_few_patients_the_whole_network_goes_on_gently(done: Path, store: CaseStore) -> None:
    lines: list[str] = []
    more = settings(store, encoder=None, init_from=str(done / "segmenter"))
    finetune(more, done.parent / "again", say=lines.append)
    (why,) = (line for line in lines if "transfer.rate" in line)
    assert "transfer.rate is 0.2" in why
    assert "2 labelled patients" in why
    report = read_json(done.parent / "again" / "load_report.json")
    assert report["decoders"]["decoder"]["covered"] == 1
    assert np.isclose(report["covered"], 1)


def test_patients_of_the_old_run_do_not_test_the_new_one(done: Path, store: CaseStore) -> None:
    train = set(read_json(done / "split.json")["train"])
    for fold in range(3):
        split = {"test": "fold", "folds": 3, "fold": fold, "labels": 1, "validation": 1}
        chosen = settings(store, encoder=None, init_from=str(done / "segmenter"), split=split)
        if train & set(make_split(store, chosen.split).test):
            break
    with pytest.raises(DataError, match="test"):
        finetune(chosen, done.parent / "leak", say=lambda text: None)
    assert not (done.parent / "leak").exists()


def test_patients_that_tested_the_old_run_do_not_train_the_new_one(
    done: Path, store: CaseStore
) -> None:
    tested = set(read_json(done / "split.json")["test"])
    for fold in range(3):
        split = {"test": "fold", "folds": 3, "fold": fold, "validation": 1}
        asked = {"encoder": None, "init_from": str(done / "segmenter"), "split": split}
        found = make_split(store, settings(store, **asked).split)
        learned = set(read_json(done / "split.json")["train"]) & set(found.test)
        if tested & {*found.train, *found.validation} and not learned:
            break
    else:
        pytest.skip("no fold trains on a patient that tested, and tests none that trained")
    with pytest.raises(DataError, match="spend_test=true"):
        finetune(settings(store, **asked), done.parent / "spent", say=lambda text: None)
    assert not (done.parent / "spent").exists()
    allowed = settings(store, **asked, transfer={"spend_test": True})
    folder = finetune(allowed, done.parent / "spent", say=lambda text: None)
    about = read_json(folder / "config.json")
    assert not set(about["tested"]["patients"]) & set(about["seen"]["patients"])
    assert set(about["tested"]["patients"]) == {
        patient_hash(store.rows[name]["patient"])
        for name in {*found.test, *tested} - {*found.train, *found.validation}
    }
