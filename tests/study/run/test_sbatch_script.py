"""What goes into a script for SLURM stays one line each, and a task queues itself alone again."""

from __future__ import annotations

import pytest

from hilum.core.errors import SettingsError
from hilum.study.run.slurm import SCRIPT, check_option


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("comment", "x\nrm -rf ~"),
        ("comment", "x\r#SBATCH --uid=0"),
        ("comment", "x\x00"),
        ("comment", "\x1b[2J"),
        ("comment", "x\u2028y"),
        ("com ment", "x"),
        ("comment\n", "x"),
        ("=x", "x"),
        ("", "x"),
    ],
)
def test_an_option_that_is_more_than_a_line_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match="one printable line") as caught:
        check_option(name, value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("time", "8:00:00"), ("gres", "gpu:1"), ("chdir", "/a b/é"), ("mem-per-cpu", "4G")],
)
def test_usual_options_pass(name: str, value: str) -> None:
    check_option(name, value)


def test_only_the_task_itself_is_queued_again() -> None:
    """SLURM_JOB_ID of one task of an array is the id of the array: requeueing it requeues all."""
    text = SCRIPT.format(options="", keys="keys", command="run")
    assert 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"' in text
    assert "SLURM_JOB_ID" not in text
