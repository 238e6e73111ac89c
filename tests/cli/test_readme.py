"""The pages for newcomers name all that there is, and nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from hilum.cli.app import app
from hilum.datasets.importers.importing import FORMATS
from hilum.fusion import STRATEGIES
from hilum.pretrain import TASKS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ROOT / "docs" / "reference"
"""Pages that `make docs` writes, and whose links it checks."""
COMMANDS = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
STUDY = COMMANDS["study"].commands


def words(page: Path) -> set[str]:
    """Return what stands between backquotes."""
    return set(re.findall(r"`([^`\n]+)`", page.read_text("utf-8")))


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    code = " ".join(words(ROOT / "README.md"))
    missing = [name for name in COMMANDS if not re.search(rf"(?<![-\w]){name}(?![-\w])", code)]
    assert not missing
    assert not [name for name in STUDY if name not in text]


def test_the_readme_shows_two_make_commands() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert re.findall(r"^make \w+", text, re.M) == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_on_a_page_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    called = re.findall(r"^hilum ([a-z][-a-z]*)(?: ([a-z]+))?", text, re.M)
    called += re.findall(r"`hilum ([a-z][-a-z]*)(?: ([a-z]+))?", text)
    assert not [name for name, _ in called if name not in COMMANDS]
    assert not [word for name, word in called if name == "study" and word not in {*STUDY, ""}]


@pytest.mark.parametrize(
    ("page", "table"),
    [("datasets", FORMATS), ("pretraining", TASKS), ("fusion", STRATEGIES)],
)
def test_every_method_stands_on_its_page(page: str, table: dict[str, object]) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert not [name for name in table if not re.search(rf"\b{name}\b", text)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    targets = [(page.parent / link).resolve() for link in links]
    assert not [path for path in targets if path.parent != GENERATED and not path.exists()]
