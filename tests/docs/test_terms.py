"""What a person reads is in the terms of the field, and every number has a unit."""

from __future__ import annotations

import ast
import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hilum.cli.inventory import SETTINGS, TABLES, purpose, setting_rows

from ..cli.help_pages import text as help_text
from .pages import DOCS
from .terms import IN_DOCSTRINGS, prose, words_not_used

PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
READ = [page for page in PAGES if page.parent.name != "decisions"]  # records keep their words

ROOT = DOCS.parent
ROOMS = (
    "datasets",
    "pretrain",
    "fusion",
    "finetune",
    *sorted(
        folder.name and f"hilum/{folder.name}"
        for folder in (ROOT / "hilum").iterdir()
        if folder.is_dir() and not folder.is_symlink() and (folder / "__init__.py").is_file()
    ),
)
CODE = re.compile(r"^ *(?:\w+:|>>>.*)", re.M)
"""The name of an argument, and an example."""

UNIT = re.compile(
    r"no unit|\b(mm|ml|voxels?|hu|suv|suvmax|degrees?|seconds?|minutes?|hours?|bytes|gib|mib)\b"
    r"|\b(fractions?|probabilit\w+|ratio|multiplier|factor|decay|percent|seed|rank|index)\b"
    # What is counted is its own unit.
    r"|\b(number|numbers|steps|patients?|patches|nodes|cases|labels|processes|threads|windows"
    r"|layers|validations|passes|folds?|which draw|dice)\b",
    re.I,
)

FREE = {"sbatch"}
"""Groups whose keys are those of another program."""


@pytest.mark.parametrize("page", READ, ids=lambda page: page.stem)
def test_a_page_uses_the_terms_of_the_field(page: Path) -> None:
    assert not words_not_used(prose(page.read_text("utf-8")))


def test_help_uses_the_terms_of_the_field() -> None:
    assert not words_not_used(help_text(), strict=True)


@pytest.mark.parametrize("command", SETTINGS)
def test_settings_use_the_terms_of_the_field(command: str) -> None:
    texts = [f"{key}: {meaning}" for key, meaning, _ in setting_rows(command)]
    words = [words_not_used(text.partition(": ")[2], strict=True) for text in texts]
    assert not [*filter(None, words)]
    assert not [text for text in texts if text.endswith(": ") or "{group}" in text]


@pytest.mark.parametrize("kind", TABLES)
def test_listings_use_the_terms_of_the_field(kind: str) -> None:
    module, attribute = TABLES[kind]
    table = getattr(importlib.import_module(module), attribute)
    assert not [word for name in table for word in words_not_used(purpose(table, name))]


def public_docstrings(file: Path) -> Iterator[tuple[str, str]]:
    """Yield name and docstring of the file, and of every class and function that is public."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            name = getattr(node, "name", "")
            text = ast.get_docstring(node)
            if text and not name.startswith("_"):
                yield name, text


@pytest.mark.parametrize("room", ROOMS)
def test_docstrings_use_the_terms_of_the_field(room: str) -> None:
    found = [
        f"{file.relative_to(ROOT)} {name}: {word}"
        for file in sorted((ROOT / room).rglob("*.py"))
        for name, text in public_docstrings(file)
        for word in words_not_used(CODE.sub("", prose(text)), only=IN_DOCSTRINGS)
    ]
    assert not found, "\n".join(found)


def test_docstrings_are_found_with_their_words(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text('"""A share of it."""\ndef f():\n    """Luck."""\ndef _g():\n    """Anew."""\n')
    assert list(public_docstrings(file)) == [("", "A share of it."), ("f", "Luck.")]
    [word] = words_not_used("A share of ours, told anew", only={"anew"})
    assert word.startswith("line 1: 'anew'")


def test_the_table_finds_whole_words_outside_of_code() -> None:
    found = words_not_used("The share of chances\nat least one lesson, leastwise")
    assert [line.split("'")[1] for line in found] == ["share of", "chances", "lesson"]
    assert not words_not_used(prose("`share of` is\n```\nchance\n```\n"))


def is_number(annotation: object) -> bool:
    parts = typing.get_args(annotation)
    return annotation in (int, float) or any(map(is_number, parts))


def numbers(model: Any, prefix: str = "") -> Iterator[str]:
    """Yield the settings that are numbers, also inside groups."""
    for name, field in model.model_fields.items():
        if hasattr(field.annotation, "model_fields"):
            yield from numbers(field.annotation, f"{prefix}{name}.")
        elif is_number(field.annotation) and prefix + name not in FREE:
            yield prefix + name


@pytest.mark.parametrize("command", SETTINGS)
def test_every_number_of_the_settings_has_a_unit(command: str) -> None:
    module, attribute = SETTINGS[command]
    model = getattr(importlib.import_module(module), attribute)
    meaning = {key: text for key, text, _ in setting_rows(command)}
    without = [f"{key}: {meaning[key]}" for key in numbers(model) if not UNIT.search(meaning[key])]
    assert not without
