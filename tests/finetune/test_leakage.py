"""Nobody who was pretrained on may test: refused from the first step on, wherever the folder is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hilum.core.checkpoints import read_config
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.seen import patient_hash, read_seen
from hilum.core.settings import validate
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.finetune.folds import cross_validate
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings
from hilum.segmenter.averaging import average

ENCODER = {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]}
TRAINER = {"steps": 1, "batch_size": 1, "precision": "32", "tracking": {"mode": "disabled"}}
ALL = {"test": 0.0}
"""A split that tests nobody: every patient is learned from."""


def pretraining(store: CaseStore, **changes: Any) -> PretrainSettings:
    values = {
        "store": store.path,
        "encoder": ENCODER,
        "patch": (8, 12, 16),
        "split": ALL,
        "task": {"name": "masked_autoencoder", "block": 4},
        "trainer": TRAINER,
        "monitors": {"on": False},
    }
    return validate(PretrainSettings, values | changes)


def tuning(store: CaseStore, **changes: Any) -> FinetuneSettings:
    values = {
        "store": store.path,
        "patch": (8, 12, 16),
        "split": {"labels": 1},
        "trainer": TRAINER,
        "inference": {"overlap": 0, "window": (16, 24, 32)},
        "pictures": 0,
    }
    return validate(FinetuneSettings, values | changes)


@pytest.fixture(scope="module")
def encoder(store: CaseStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an encoder folder that was moved away from its run."""
    folder = tmp_path_factory.mktemp("pretrained")
    made = pretrain(pretraining(store), folder / "run", say=lambda text: None)
    shutil.move(made, folder / "moved")
    shutil.move(made.parent / "network", folder / "network")
    return folder / "moved"


def test_a_moved_encoder_that_saw_a_test_patient_is_refused_before_a_step(
    encoder: Path, store: CaseStore, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no test patient .* patient_4"):
        finetune(tuning(store, init_from=encoder), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    network = encoder.parent / "network"
    for start in (network, {"ct": network, "pet": network}):
        with pytest.raises(DataError, match=r"no test patient .* patient_4"):
            finetune(tuning(store, init_from=start), tmp_path / "run")
    copy = shutil.copytree(encoder, tmp_path / "copy")
    with pytest.raises(DataError, match="no test patient"):
        cross_validate(tuning(store, init_from=copy), tmp_path / "folds", 2)
    assert not (tmp_path / "folds").exists()


def test_it_is_refused_on_the_same_scans_in_another_store(
    encoder: Path, manifest: Path, tmp_path: Path
) -> None:
    """Other names, another spacing: the scans give it away."""
    rows = [line.split(",") for line in manifest.read_text().splitlines()]
    head, *rows = rows
    for row in rows:
        row[head.index("patient")] = "stranger" + row[head.index("patient")][-2:]
        for column in ("ct", "pet", "label"):
            place = head.index(column)
            row[place] = str(manifest.parent / row[place]) if row[place] else ""
    text = "\n".join(",".join(row) for row in [head, *rows]) + "\n"
    (tmp_path / "manifest.csv").write_text(text)
    settings = validate(PrepareSettings, {"spacing": (5.0, 5.0, 5.0)})
    other = prepare(tmp_path / "manifest.csv", tmp_path / "store", settings)
    with pytest.raises(DataError, match=r"stranger_4, by the scan"):
        finetune(tuning(other, init_from=encoder), tmp_path / "run")


def test_validation_patients_of_pretraining_count(store: CaseStore, tmp_path: Path) -> None:
    own = pretraining(store, validation=2, seed=3)
    encoder = pretrain(own, tmp_path / "run", say=lambda text: None)
    apart = read_json(tmp_path / "run" / "data.json")["validation"]
    seen = read_seen(encoder)
    assert seen is not None
    names = {store.rows[case]["patient"] for case in store.ids}
    assert set(seen.patients) == set(map(patient_hash, names))
    assert len(apart) == 2
    assert {patient_hash(store.rows[case]["patient"]) for case in apart} <= set(seen.patients)


def test_what_was_seen_goes_through_every_ancestor(
    encoder: Path, store: CaseStore, tmp_path: Path
) -> None:
    """Pretrained on all, then on: the second run excludes the test patients, its weights do not."""
    quiet = {"say": lambda text: None}
    none = pretraining(store, init_from=encoder, split={"test": "manifest"})
    with pytest.raises(DataError, match="no test patient"):
        pretrain(none, tmp_path / "refused", **quiet)
    assert not (tmp_path / "refused").exists()
    child = pretrain(pretraining(store, init_from=encoder), tmp_path / "child", **quiet)
    said: list[str] = []
    alone = tuning(store, init_from=child, evaluate_test=False, split={"test": 0.0, "labels": 1})
    segmenter = finetune(alone, tmp_path / "seg", say=said.append)
    assert not [line for line in said if "not fully known" in line]
    mean = average([segmenter], tmp_path / "mean")
    for folder in (child, segmenter, mean):
        assert read_seen(folder) == read_seen(encoder), folder
    assert "6 (hashed in config.json)" in (segmenter / "README.md").read_text()


def test_a_segmenter_says_whom_it_saw_and_unknown_ancestors_make_it_unknown(
    encoder: Path, store: CaseStore, tmp_path: Path
) -> None:
    config = read_config(encoder).model_dump(mode="json") | {"seen": None}
    shutil.copytree(encoder, tmp_path / "old")
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    said: list[str] = []
    own = tuning(store, init_from=tmp_path / "old", evaluate_test=False)
    seen = read_seen(finetune(own, tmp_path / "run", say=said.append))
    assert [line for line in said if line.startswith("note: which patients")]
    split = read_json(tmp_path / "run" / "split.json")
    assert seen is not None
    assert not seen.complete
    assert seen.patients == (patient_hash(store.rows[split["train"][0]]["patient"]),)
