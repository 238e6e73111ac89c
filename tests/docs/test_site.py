"""The site: every page is reachable, the figure is true, messages and commands exist."""

from __future__ import annotations

import functools
import re
import runpy
import shlex

import pytest
import typer
import yaml

from hilum.cli.app import USAGE, app
from hilum.cli.inventory import SETTINGS, setting_rows

from .pages import DOCS, blocks

ROOT = DOCS.parent
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
GROUP = typer.main.get_command(app)
STRATEGIES = runpy.run_path(str(DOCS / "site" / "strategies.py"))
OPEN = ("encoder", "decoder", "fusion", "loss", "task", "init_from", "robustness", "sbatch")
"""Settings whose parameters depend on their `name`."""


QUOTED = re.compile(r'"[^"\n]*\n[^"]*"')
"""A word in quotes that goes on in the next line."""


def entries(nav: object) -> list[str]:
    """Return the pages that a navigation names."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in entries(part)]  # pyright: ignore[reportOptionalIterable, reportGeneralTypeIssues]


def test_every_page_is_in_the_navigation_and_every_entry_exists() -> None:
    named = entries(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"])
    written = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert len(named) == len(set(named))
    assert {page for page in named if not page.startswith("reference/")} == written


@pytest.mark.slow
def test_the_figure_of_the_strategies_shows_what_they_are_made_of() -> None:
    drawn = (DOCS / "pictures" / "fusion_strategies.svg").read_text("utf-8")
    assert drawn == STRATEGIES["draw"](STRATEGIES["anatomies"]())


def test_messages_of_the_troubleshooting_page_are_messages_of_the_code() -> None:
    page = (DOCS / "troubleshooting.md").read_text("utf-8")
    messages = re.findall(r"^\| `([^`]+)` \|", page, re.M)
    assert len(messages) > 10
    rooms = ("hilum", "datasets", "pretrain", "finetune", "fusion")
    files = [file for room in rooms for file in (ROOT / room).rglob("*.py")]
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text("utf-8") for file in files))
    assert not [message for message in messages if message not in code]


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of a fenced block, with the page that it stands on."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            text = QUOTED.sub(lambda match: " ".join(match[0].split()), block.text)
            for line in text.replace("\\\n", " ").splitlines():
                parts = re.split(r"\s+#\s", line)[0].split(" && ")
                if block.language in ("", "bash"):
                    found += [(page.name, shlex.split(p)) for p in parts if p.startswith("hilum ")]
    return found


@functools.cache
def known_settings(command: str) -> frozenset[str]:
    return frozenset(key for key, _, _ in setting_rows(command))


COMMANDS = commands()


@pytest.mark.parametrize(
    ("page", "words"), COMMANDS, ids=[f"{p}-{n}" for n, (p, _) in enumerate(COMMANDS)]
)
def test_a_command_on_a_page_parses_with_options_and_settings_that_exist(
    page: str, words: list[str]
) -> None:
    command, rest = GROUP, words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    optional = any("[" in word and "=" not in word for word in rest)  # a synopsis
    if optional or "|" in " ".join(rest):
        return
    try:
        command.make_context(words[1], list(rest))
    except USAGE as mistake:
        pytest.fail(f"{' '.join(words)}: {mistake}")
    kind = "-".join([words[1], rest[0]]) if words[1] == "import" else words[1]
    if kind not in SETTINGS or kind == "study":
        return
    known = known_settings(kind)
    keys = [word.strip("[]").split("=")[0] for word in rest if re.match(r"\[?[a-z_.]+=", word)]
    unknown = [
        key
        for key in keys
        if key not in known
        and key.split(".")[0] not in OPEN
        and not any(name.startswith(f"{key}.") or key.startswith(f"{name}.") for name in known)
    ]
    assert not unknown, f"{' '.join(words)}: {unknown}"
