"""The plan names what a study sets in vain, and not what an arm cannot use by its nature."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hilum.study.commands import plan, run

NO_RULE_LEARNS = "exclude=[{pretext: mae, arm: rule}]"


def notes(file: Path, out: Path, *settings: str) -> list[str]:
    return [line for line in plan(file, out, settings) if line.startswith("note: ")]


def test_what_works_in_every_cell_is_not_named(file: Path, tmp_path: Path) -> None:
    assert notes(file, tmp_path / "out") == []


def test_what_works_nowhere_is_named_once(file: Path, tmp_path: Path) -> None:
    [line] = notes(file, tmp_path / "out", "finetune.teacher.ramp=0.1")
    assert line.endswith("teacher.ramp does nothing: teacher.weight is 0")


def test_a_shared_setting_is_not_named_where_only_some_arms_cannot_use_it(
    file: Path, tmp_path: Path
) -> None:
    arms = "factors.arm={rule: {baseline.limit: 2.5}, network: {}}"
    assert notes(file, tmp_path / "out", arms, NO_RULE_LEARNS) == []


def test_what_a_level_sets_is_named_in_its_cells(file: Path, tmp_path: Path) -> None:
    arms = "factors.arm={rule: {baseline.limit: 2.5, trainer.steps: 7}, network: {}}"
    [line] = notes(file, tmp_path / "out", arms, NO_RULE_LEARNS)
    assert "rule" in line.split(": ")[1]
    assert line.endswith("trainer.steps does nothing: a baseline is no network")


def test_what_a_level_sets_of_the_pretraining_is_named_there(file: Path, tmp_path: Path) -> None:
    setting = "factors.pretext.mae.pretrain.monitors={on: false, voxels: 1000}"
    other = (
        "factors.pretext.other={pretrain: {task: {name: simmim, block: 4}}}"  # where it is not set
    )
    [line] = notes(file, tmp_path / "out", setting, other)
    assert line.endswith("monitors.voxels does nothing: monitors.on is false")


def test_a_run_says_it_before_its_first_cell(file: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("note: "):
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        run(file, tmp_path / "out", ["finetune.teacher.ramp=0.1"], say=say)
    assert said[-1].endswith("teacher.ramp does nothing: teacher.weight is 0")
