"""Every command answers `-h` and `--help` with a page that was looked at."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app

from .help_pages import FILE, commands, page, text

WORDS = [words for words, _ in commands()]


def test_the_help_pages_are_those_that_were_looked_at() -> None:
    wanted = "python -P tests/cli/help_pages.py writes help.txt: look at its difference in git"
    assert text() == FILE.read_text("utf-8"), wanted


@pytest.mark.parametrize("words", WORDS)
def test_a_command_answers_both_forms_of_help(words: str) -> None:
    runner = CliRunner(env={"COLUMNS": "100", "TERMINAL_WIDTH": "100"})
    pages = [runner.invoke(app, [*words.split()[1:], option]) for option in ("-h", "--help")]
    assert [shown.exit_code for shown in pages] == [0, 0]
    assert pages[0].output == pages[1].output
    usage = page(words).splitlines()[0]
    assert usage.split("]")[0] in pages[0].output
