"""The help of every command as one text; `python -P tests/cli/help_pages.py` writes help.txt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hilum.cli.app import app

FILE = Path(__file__).with_name("help.txt")
WIDTH = 100


def commands(command: Any = None, words: str = "hilum") -> Iterator[tuple[str, Any]]:
    """Yield every command and group with the words that call it."""
    command = command or typer.main.get_command(app)
    yield words, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from commands(inner, f"{words} {name}")


def page(words: str) -> str:
    """Return what `-h` prints after the words of a command."""
    context: Any = None
    command = typer.main.get_command(app)
    for word in words.split():
        inner = command if context is None else context.command.commands[word]
        options = {"terminal_width": WIDTH, **inner.context_settings}
        context = (
            type(context)(inner, parent=context, info_name=word, **options)
            if context
            else (inner.context_class(inner, info_name=word, **options))
        )
    return context.get_help()


def text() -> str:
    """Return all pages."""
    return "\n\n".join(f"$ {words} -h\n{page(words)}" for words, _ in commands()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
