"""Rows of metrics are read whole; only a last line that a killed run left may be cut off."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import UserError
from hilum.training.jsonl_logger import JsonLines
from hilum.training.metrics_file import read_metrics

ROWS = '{"step": 1, "train/loss": 0.5}\n{"step": 2, "val/dice": null}\n'


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"step": "1"}', "must have its step, found '1'"),
        ('{"train/loss": 1}', "must have its step, found None"),
        ('{"step": 1.5}', "must have its step"),
        ('{"step": -1}', "must have its step"),
        ('{"step": true}', "must have its step"),
        ('{"step": 1, "train/loss": "low"}', "train/loss of step 1 must be a number or null"),
        ('{"step": 1, "train/loss": NaN}', "train/loss of step 1 must be a number or null"),
        ('{"step": 1, "train/loss": [1]}', "train/loss of step 1"),
        ("[1]", "line 1"),
        ('{"step": 1', "line 1"),
    ],
)
def test_a_wrong_line_is_named_wherever_it_is_read(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f"{line}\n{ROWS}")
    before = file.read_bytes()
    with pytest.raises(UserError, match=message) as caught:
        list(read_metrics(file))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message):
        JsonLines(file, 9)
    assert file.read_bytes() == before


def test_a_last_line_that_was_cut_off_goes_and_so_do_later_steps(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f'{ROWS}{{"step": 3, "train/lo')
    assert [row["step"] for row in read_metrics(file)] == [1, 2]
    JsonLines(file, 2)
    assert file.read_text() == ROWS
    JsonLines(file, 1)
    assert [row["step"] for row in read_metrics(file)] == [1]
