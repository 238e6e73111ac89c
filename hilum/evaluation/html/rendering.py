"""Templates filled in by jinja2: what is filled in is escaped unless it is markup already."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

ROOT = Path(__file__).parents[2]
"""The package: a template, a style or a script is named by its path from here."""


def render(template: str, **values: object) -> Markup:
    """Fill in a template.

    Args:
        template: Path from the package's folder, as `evaluation/page.html.j2`.
        values: By the names that the template uses; text is escaped, `Markup` is not.

    Raises:
        jinja2.UndefinedError: If the template uses a name that has no value.
    """
    return Markup(_environment().get_template(template).render(**values))


def part(template: str, name: str, *values: object) -> Markup:
    """Return what a macro of a template makes of some values."""
    return Markup(getattr(_environment().get_template(template).module, name)(*values))


def _inline(file: str) -> Markup:
    """Return a style sheet or script as it is, so that a page needs no other file."""
    return Markup((ROOT / file).read_text(encoding="utf-8"))


@cache
def _environment() -> Environment:
    made = Environment(
        autoescape=True,
        loader=FileSystemLoader(ROOT),
        undefined=StrictUndefined,  # a name that is misspelt must not become an empty page
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["inline"] = _inline
    return made
