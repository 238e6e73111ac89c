"""What would fail at night is told by the plan, as the run itself would tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import hilum.finetune.ready as finetuning
from hilum.core.errors import SettingsError, UserError
from hilum.core.settings import validate
from hilum.finetune.run import finetune
from hilum.finetune.settings import FinetuneSettings
from hilum.pretrain.settings import PretrainSettings
from hilum.study.commands import plan, read, run

WRONG = {
    "fusion": ("finetune.fusion={name: latee}", "latee"),
    "a parameter of the fusion": ("finetune.fusion={name: early, width: 3}", "width"),
    "encoder": ("finetune.encoder={name: resnec}", "resnec"),
    "a parameter of the encoder": ("finetune.encoder={name: resenc, sizee: tiny}", "sizee"),
    "size": ("finetune.encoder={name: resenc, size: huge}", "huge"),
    "patch": ("finetune.patch=[9, 16, 16]", "divisible"),
    "condition": ("conditions=[ct+mr]", "mr"),
    "modalities": ("finetune.modalities=[ct, mr]", "mr"),
    "labels": ("finetune.split.labels=300", "300"),
    "what it starts from": ("finetune.init_from=absent", "absent"),
    "loss": ("finetune.loss={name: dice_cee}", "dice_cee"),
    "task": ("factors.pretext.mae.pretrain.task={name: mse}", "mse"),
    "a parameter of the task": (
        "factors.pretext.mae.pretrain.task={name: simmim, blok: 4}",
        "blok",
    ),
    "patch of the pretraining": ("pretrain.patch=[9, 16, 16]", "divisible"),
    "store": ("store=absent", "store.json"),
    "test patients who are learned from": ("pretrain.split={test: 0.2, seed: 5}", "learned from"),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_the_plan_refuses_and_names_it(
    file: Path, tmp_path: Path, change: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    setting, named = change
    for command in (plan, run):
        with pytest.raises(UserError, match=named):
            command(file, tmp_path / "out", [setting])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change", [{"fusion": {"name": "early", "width": 3}}, {"patch": [9, 16, 16]}]
)
def test_the_plan_says_what_the_run_says(
    file: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    _, cells = read(file, tmp_path / "out")
    values = next(
        cell for cell in cells if cell.needs is None and cell.stage == "finetune"
    ).settings
    with pytest.raises(UserError) as by_run:
        finetune(validate(FinetuneSettings, values | change), tmp_path / "run")
    [(key, value)] = change.items()
    with pytest.raises(SettingsError) as by_plan:
        plan(file, tmp_path / "out", [f"finetune.{key}={value}"])
    assert str(by_run.value) in str(by_plan.value)
    assert not (tmp_path / "run").exists()


def test_a_distinct_network_is_built_once(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], finetuning.segmenter_of
    monkeypatch.setattr(
        finetuning, "segmenter_of", lambda *given: made.append(given) or real(*given)
    )
    plan(file, tmp_path / "out", ["factors.seed=[0, 1, 2, 3, 4, 5, 6, 7]"])
    assert len(made) == 1
    made.clear()
    plan(file, tmp_path / "out", ["factors.fusion={early: {}, late: {fusion: {name: late}}}"])
    assert len(made) == 2


@pytest.mark.parametrize(
    "also",
    [
        "teacher.weight: 1",
        "synthetic: {replay: 0.5, recipe: {short_mm: [4, 8]}}",
        "operating_point.by: expected",
    ],
)
def test_whom_a_cell_learns_from_is_asked_for_each_who_and_how(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, also: str
) -> None:
    """Unlabelled patients who train or choose must not have tested what a run starts from."""
    asked, real = [], finetuning.learned_from
    monkeypatch.setattr(
        finetuning, "learned_from", lambda *given: asked.append(given) or real(*given)
    )
    values = yaml.safe_load(file.read_text())
    folds = {"split.test": "fold", "split.folds": 2}
    values["factors"] = {
        "fold": {str(fold): folds | {"split.fold": fold} for fold in range(2)},
        "how": {"labelled": {}, "also": yaml.safe_load(f"{{{also}}}")},
    }
    values["reference"] = {"how": "labelled"}
    values["finetune"]["split"] = {"labels": 1, "validation": 0}
    file.write_text(yaml.safe_dump(values))
    plan(file, tmp_path / "out")
    assert len(asked) == 4


def test_a_plan_without_what_is_wrong_has_all_cells(file: Path, tmp_path: Path) -> None:
    assert any("5 new" in line or "new" in line for line in plan(file, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_is_said_of_a_run_is_what_it_has(file: Path, tmp_path: Path) -> None:
    _, cells = read(file, tmp_path / "out")
    first, second = cells[0], cells[-1]
    told = "\n".join(_lines(first.settings, "pretrain"))
    assert "patients: 4 train, none validates" in told
    assert "task masked_autoencoder" in told
    rest = {key: value for key, value in second.settings.items() if key != "init_from"}
    told = "\n".join(_lines(rest, "finetune"))
    assert "patients: 2 train, 1 validate, 2 test" in told
    assert "12 steps of 2 patches of 8 x 16 x 16 voxels" in told
    segmenter = finetuning.ready(validate(FinetuneSettings, rest)).module.segmenter
    count = sum(p.numel() for p in segmenter.parameters()) / 1e6
    assert f"{count:.2f} million parameters" in told


def _lines(values: dict[str, Any], stage: str) -> list[str]:
    if stage == "pretrain":
        import hilum.pretrain.ready as pretraining

        return pretraining.ready(validate(PretrainSettings, values)).lines()
    return finetuning.ready(validate(FinetuneSettings, values)).lines()


def test_both_commands_say_what_would_run_and_write_nothing(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from hilum.cli.app import app
    from hilum.core.settings import write_yaml

    monkeypatch.chdir(tmp_path)
    _, cells = read(file, tmp_path / "out")
    for cell, cls in ((cells[0], PretrainSettings), (cells[1], FinetuneSettings)):
        write_yaml(tmp_path / "run.yaml", validate(cls, cell.settings))
        asked = [cell.stage, "--out", "r", "-c", "run.yaml", "--dry-run"]
        shown = CliRunner().invoke(app, asked)
        assert shown.exit_code == 0, shown.output
        assert "# patients: " in shown.output
        assert yaml.safe_load(shown.output)["patch"] == [8, 16, 16]
        refused = CliRunner().invoke(app, [*asked, "store=absent"])
        assert isinstance(refused.exception, UserError)
    assert not (tmp_path / "r").exists()
