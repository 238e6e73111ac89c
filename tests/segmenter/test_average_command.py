"""`hilum average` writes a mean, and lets only validation cases choose what is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import UserError
from hilum.core.files import write_json
from hilum.core.weights import read_weights
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]
SPLIT = {"train": ["case_0"], "validation": ["case_1", "case_2"], "test": ["case_4"]}


@pytest.fixture
def runs(config: Make, tmp_path: Path) -> list[Path]:
    """Return two run folders, as `hilum finetune` leaves them."""
    made = []
    for seed in range(2):
        torch.manual_seed(seed)
        Segmenter(config()).save(tmp_path / f"run_{seed}" / "segmenter")
        write_json(tmp_path / f"run_{seed}" / "split.json", SPLIT)
        made.append(tmp_path / f"run_{seed}")
    return made


def call(*words: object) -> Any:
    return CliRunner().invoke(app, ["average", *map(str, words)])


def test_writes_the_mean_of_run_and_segmenter_folders(runs: list[Path], tmp_path: Path) -> None:
    found = call(tmp_path / "mean", runs[0], runs[1] / "segmenter")
    assert found.exit_code == 0, found.exception
    assert "the mean of 2 of 2" in found.output
    one, other = (read_weights(run / "segmenter") for run in runs)
    for name, value in read_weights(tmp_path / "mean").items():
        if value.is_floating_point():
            assert_close(value, (one[name] + other[name]) / 2)
    Segmenter.from_pretrained(tmp_path / "mean")


def test_greedy_is_chosen_by_the_validation_cases_of_the_runs(
    runs: list[Path], store: CaseStore, tmp_path: Path
) -> None:
    found = call(tmp_path / "mean", *runs, "--greedy", "--store", store.path)
    assert found.exit_code == 0, found.exception
    assert "by the Dice of case_1, case_2" in found.output
    assert read_segmenter_config(tmp_path / "mean").extra["average"]["method"] == "greedy"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--greedy"], "go together"),
        (["--case", "case_1"], "go together"),
        (["--greedy", "--store", "STORE", "--case", "case_9"], "no case case_9, did you mean"),
        (["--greedy", "--store", "STORE", "--case", "case_0"], "must not train any"),
        (["--greedy", "--store", "STORE", "--case", "case_4"], "must not test any"),
    ],
)
def test_cases_that_must_not_choose_are_an_error(
    runs: list[Path], store: CaseStore, tmp_path: Path, words: list[str], message: str
) -> None:
    given = [str(store.path) if word == "STORE" else word for word in words]
    found = call(tmp_path / "mean", *runs, *given)
    assert isinstance(found.exception, UserError)
    assert message in str(found.exception)
    assert not (tmp_path / "mean").exists()


def test_runs_without_a_common_validation_case_cannot_choose(
    runs: list[Path], store: CaseStore, tmp_path: Path
) -> None:
    write_json(runs[1] / "split.json", SPLIT | {"validation": []})
    found = call(tmp_path / "mean", *runs, "--greedy", "--store", store.path)
    assert "validation cases that all runs share" in str(found.exception)
