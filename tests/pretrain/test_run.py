"""Pretraining gives an encoder folder, never sees a test patient, and resumes to the same bits."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

import hilum.pretrain.run as run_module
from hilum.core.checkpoints import load_weights, read_config
from hilum.core.errors import DataError, SettingsError, Stopped, StoreError, UserError
from hilum.core.files import read_json, write_json
from hilum.core.registry import build
from hilum.core.settings import load, validate, write_yaml
from hilum.core.weights import read_weights
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders import ENCODERS
from hilum.encoders.networks import read_network
from hilum.pretrain.pool import cases
from hilum.pretrain.ready import make_task
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings

SHIFTED = {"source": "augmentation", "longest": 3, "block": 4}
BOTH = {"misalignment": SHIFTED, "masked_autoencoder": {"block": 4}}


def settings_of(case_store: CaseStore, **changes: Any) -> PretrainSettings:
    trainer = {"steps": 4, "batch_size": 2, "precision": "32", "validate_every": 2}
    trainer |= {"save_every": 2, "log_every": 1, "tracking": {"mode": "disabled"}}
    values = {
        "store": case_store.path,
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "task": {"name": "masked_autoencoder", "block": 4},
        "patch": (16, 14, 18),
        "trainer": trainer | changes.pop("trainer", {}),
    }
    return validate(PretrainSettings, values | changes)


@pytest.fixture(scope="module")
def done(store: CaseStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run."""
    out = tmp_path_factory.mktemp("run") / "r"
    assert pretrain(settings_of(store), out) == out / "encoder"
    return out


def test_the_encoder_folder_reloads_to_equal_outputs(done: Path, store: CaseStore) -> None:
    config = read_config(done / "encoder")
    assert config.modalities == ("ct", "pet")
    assert config.spacing == store.spacing
    assert config.patch == (16, 14, 18)
    assert config.data_hash == "abc"
    assert config.pretext == {"name": "masked_autoencoder", "block": 4}
    assert config.intensity["pet"] == {"unit": "SUV", "low": 0, "high": 40, "scale": "log"}
    state = torch.load(done / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    encoder = build(ENCODERS, config.architecture, in_channels=2)
    report = load_weights(encoder, read_weights(done / "encoder"))
    assert report.covered == 1
    trained = build(ENCODERS, config.architecture, in_channels=2)
    start = "task.encoder."
    trained.load_state_dict(
        {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
    )
    image = torch.randn(1, 2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    for one, other in zip(encoder(image), trained(image), strict=True):
        assert_close(one, other)


def test_the_network_folder_is_the_whole_network_and_says_what_it_gives(
    done: Path, store: CaseStore
) -> None:
    network = read_network(done / "network")
    assert [str(output) for output in network.config.outputs] == [
        "reconstruction ct",
        "reconstruction pet",
    ]
    # Each folder has the checksum of its own file.
    alone = read_config(done / "encoder").model_copy(update={"checksums": {}})
    assert network.config.encoder == alone
    state = torch.load(done / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    image = torch.randn(1, 2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    task, _ = make_task(settings_of(store), ("ct", "pet"), network.config.encoder.spacing)
    start = "task."
    own = {k.removeprefix(start): v for k, v in state.items() if k.startswith(start)}
    task.load_state_dict(own)
    expected = task.rebuild(image, torch.zeros_like(image, dtype=torch.bool))  # pyright: ignore
    assert_close(network(image), expected)


def test_a_done_run_says_so_and_returns_at_once(
    done: Path, store: CaseStore, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr(run_module, "fit", None)
    assert pretrain(settings_of(store), done) == done / "encoder"
    assert "is done" in capsys.readouterr().out


def test_the_run_folder_tells_everything(done: Path) -> None:
    assert (done / "DONE").exists()
    rows = [json.loads(line) for line in (done / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    keys = {"train/loss", "train/mse/ct", "train/mse/pet", "time/data_wait_share"}
    keys |= {"optimisation/gradient_norm", "optimisation/learning_rate/pretext"}
    assert keys <= set().union(*(row.keys() for row in rows))
    assert {"val/loss", "time/patches_per_second"} <= rows[3].keys()
    summary = read_json(done / "summary.json")
    assert summary["val/loss"] == pytest.approx(rows[3]["val/loss"])
    files = sorted((done / "pictures").glob("*.png"))
    assert [file.name for file in files] == ["step-000002.png", "step-000004.png"]
    with Image.open(files[0]) as picture:
        assert picture.width > 3 * 140
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    assert (38, 70, 110) in colours  # something was hidden


def test_the_resolved_settings_repeat_the_run(done: Path, store: CaseStore) -> None:
    assert load(PretrainSettings, [done / "config.yaml"]) == settings_of(store)


def test_test_patients_are_never_seen(store: CaseStore) -> None:
    training, validation = cases(store, settings_of(store), ("ct", "pet"))
    assert "case_4" not in training + validation
    assert not set(training) & set(validation)
    assert len(validation) == 1
    assert len(training) == 3
    only_ct, _ = cases(store, settings_of(store, validation=0), ("ct",))
    assert only_ct == ("case_0", "case_1", "case_2")


def test_batches_hold_pool_cases_only(
    store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hilum.pretrain.module import PretrainModule

    seen: list[str] = []
    step = PretrainModule.training_step

    def spy(self: Any, batch: Any, batch_idx: int) -> Any:
        seen.extend(batch["case"])
        assert "label" not in batch
        return step(self, batch, batch_idx)

    monkeypatch.setattr(PretrainModule, "training_step", spy)
    pretrain(settings_of(store, validation=0), tmp_path / "r")
    assert set(seen) == {"case_0", "case_1", "case_2", "case_3"}


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_stopped_run_ends_with_the_same_bits(
    done: Path, store: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    from hilum.pretrain.module import PretrainModule

    train = PretrainModule.training_step

    def stop(self: Any, batch: Any, batch_idx: int) -> Any:
        if self.trainer.global_step == step - 1:
            signal.raise_signal(signal.SIGTERM)
        return train(self, batch, batch_idx)

    monkeypatch.setattr(PretrainModule, "training_step", stop)
    with pytest.raises(Stopped):
        pretrain(settings_of(store), tmp_path / "cut")
    assert not (tmp_path / "cut" / "encoder").exists()
    monkeypatch.undo()
    pretrain(settings_of(store), tmp_path / "cut")
    for name in ("encoder", "network"):
        one, other = (read_weights(d / name) for d in (done, tmp_path / "cut"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    rows = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert sum("val/loss" in json.loads(row) for row in rows) == 2


def test_another_seed_gives_another_encoder(done: Path, store: CaseStore, tmp_path: Path) -> None:
    pretrain(settings_of(store, seed=1), tmp_path / "r")
    one, other = (read_weights(d / "encoder") for d in (done, tmp_path / "r"))
    assert not all(torch.equal(one[key], other[key]) for key in one)


def test_pretraining_goes_on_from_an_encoder_of_fewer_modalities(
    done: Path, store: CaseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_of(store, modalities=("pet",), init_from=done / "encoder")
    folder = pretrain(settings, tmp_path / "r")
    assert "100.0% of the parameters covered" in capsys.readouterr().out
    report = read_json(tmp_path / "r" / "load_report.json")
    assert "pet from pet" in json.dumps(report["adapted"])
    assert read_config(folder).modalities == ("pet",)


def test_a_store_that_changed_is_refused(
    store: CaseStore, tmp_path: Path, monkeypatch: Any
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> Any:
        raise Stopped("SIGTERM")

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "fit", interrupted)
        with pytest.raises(Stopped):
            pretrain(settings_of(store), tmp_path / "r")
    data = read_json(tmp_path / "r" / "data.json")
    write_json(tmp_path / "r" / "data.json", data | {"fingerprint": "old"})
    with pytest.raises(StoreError, match="must be the one that the run began with"):
        pretrain(settings_of(store), tmp_path / "r")
    write_json(tmp_path / "r" / "data.json", data | {"training": ["another"]})
    with pytest.raises(StoreError, match="must use the cases that it began with"):
        pretrain(settings_of(store), tmp_path / "r")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"split": {"test": 1.0}}, DataError, "the pool needs a case with ct or pet"),
        ({"modalities": ("mr",)}, SettingsError, "the store has no 'mr'"),
        ({"modalities": ("pett",)}, SettingsError, "did you mean 'pet'"),
        ({"patch": (16, 15, 18)}, SettingsError, r"divisible by \(2, 2, 2\).*use \(16, 16, 18\)"),
        ({"patch": (32, 32, 32)}, SettingsError, "must fit into one case"),
        ({"task": {"name": "masked_autoencoder", "ratio": 1}}, SettingsError, "mask ratio"),
        ({"task": {"name": "masked_autoencoder", "ratio": 0}}, SettingsError, "mask ratio"),
        ({"task": {"name": "masked_autoencoder", "block": 32}}, SettingsError, "two blocks"),
        ({"task": {"name": "misalignment", **SHIFTED}}, SettingsError, "rotation.p above 0"),
        (
            {"task": {"name": "joint", "tasks": BOTH}},
            SettingsError,
            "rotation",
        ),
        ({"task": {"name": "simclr"}, "trainer": {"batch_size": 1}}, SettingsError, "at least 2"),
        ({"task": {"name": "voco"}}, SettingsError, "."),
        ({"task": {"name": "masked_autoencodre"}}, SettingsError, "did you mean"),
        ({"encoder": {"name": "resnec"}}, SettingsError, "did you mean 'resenc'"),
        (
            {"encoder": {"name": "resenc", "features": [4, 8], "blocks": [1]}},
            SettingsError,
            "one entry per stage",
        ),
        ({"store": "/nowhere"}, StoreError, "store.json is missing"),
        ({"init_from": "/nowhere"}, UserError, "encoder folder must hold config.json"),
    ],
)
def test_bad_input_is_one_clear_error(
    store: CaseStore, tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        pretrain(settings_of(store, **changes), tmp_path / "r")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": (0, 8, 8)}, "sides must be at least 1"),
        ({"modalities": ("ct", "ct")}, "each modality once"),
        ({"modalities": ()}, "modalities"),
        ({"sed": 1}, "did you mean 'seed'"),
        ({"trainer": {"steps": 0}}, r"trainer.steps"),
    ],
)
def test_bad_settings_are_one_clear_error(
    store: CaseStore, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of(store, **changes)


def test_parameters_without_a_name_are_those_of_the_default() -> None:
    chosen = load(PretrainSettings, [], ["store=s", "encoder.size=tiny", "task.nodes=3"])
    assert chosen.encoder == {"name": "resenc", "size": "tiny"}
    assert chosen.task == {"name": "synthetic_nodes", "nodes": 3}
    assert load(PretrainSettings, [], ["store=s"]).task == {"name": "synthetic_nodes"}


def test_settings_survive_their_file(store: CaseStore, tmp_path: Path) -> None:
    settings = settings_of(store, init_from=tmp_path / "encoder")
    write_yaml(tmp_path / "c.yaml", settings)
    assert load(PretrainSettings, [tmp_path / "c.yaml"]) == settings
