"""Reference pages, written from the code: commands, settings, methods, metrics, formats, Python."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import typer

import hilum
from hilum.cli.app import app
from hilum.cli.inventory import SETTINGS, TABLES, setting_rows
from hilum.core.registry import Table
from hilum.evaluation.metrics.table import METRICS

NOTE = "*Written from the code by `docs/site/reference.py`.*\n"
ROOMS = {
    "fusion": "Fusion strategies",
    "pretext": "Pretext tasks",
    "losses": "Losses",
    "encoders": "Encoders",
}
EXTENDED = (
    "What a method of your own extends; encoders extend [hilum.Encoder](python.md#hilumencoder)."
)
BASES = (
    "hilum.encoders.decoders.base.Decoder",
    "hilum.fusion.base.FusionStrategy",
    "hilum.pretrain.base.PretextTask",
    "hilum.losses.base.Loss",
    "hilum.datasets.importers.importing.Format",
    "hilum.core.modality.Modality",
    "hilum.evaluation.metrics.table.Metric",
    "hilum.exchange.weights_in.source.WeightSource",
    "hilum.exchange.networks_out.exporting.Target",
)


def pages() -> dict[str, str]:
    """Return the generated pages: path below docs/, and Markdown."""
    made = {
        "commands": _commands(),
        "settings": _settings(),
        "methods": _methods(),
        "metrics": _metrics(),
        "formats": _formats(),
        "python": _python(),
        "base-classes": _objects("Base classes", EXTENDED, BASES),
    }
    for kind, title in ROOMS.items():
        made[kind] = _objects(title, f"As `hilum list {kind}` names them.", _classes(kind))
    return {f"reference/{name}.md": text for name, text in made.items()}


def _commands() -> str:
    lines = ["# Commands\n", NOTE]
    for words, command in _leaves("hilum", typer.main.get_command(app)):
        lines += [f"## {words}\n", f"{_text(command.help)}\n"]
        rows = [(_spelled(p), _text(getattr(p, "help", "")), _default(p)) for p in command.params]
        rows = [row for row in rows if not row[0].startswith("`--help")]
        if rows:
            lines += _table(("argument or option", "meaning", "default"), rows)
    return "\n".join(lines)


def _leaves(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words, command
        return
    for name in sorted(inner):
        yield from _leaves(f"{words} {name}", inner[name])


def _spelled(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{parameter.metavar or parameter.name.upper()}`"
    return ", ".join(f"`{name}`" for name in parameter.opts)


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return _code(str(value)) if plain and value != "" else ""


def _settings() -> str:
    lines = [
        "# Settings\n",
        NOTE,
        "As `hilum settings COMMAND` prints them; `key=value` sets one.\n",
    ]
    for command in SETTINGS:
        lines.append(f"## {command}\n")
        rows = [(f"`{key}`", _cell(text), _code(d)) for key, text, d in setting_rows(command)]
        lines += _table(("setting", "meaning, unit", "default"), rows)
    return "\n".join(lines)


def _methods() -> str:
    lines = ["# Methods\n", NOTE, "As `hilum list` prints them. Names go into settings.\n"]
    for kind in TABLES:
        if kind in ("metrics", "formats"):
            continue
        table = _table_of(kind)
        lines.append(f"## {kind}\n")
        rows = [(f"`{name}`", _cell(text), _cited(table, name)) for name, text in _purposes(kind)]
        lines += _table(("name", "what it does", "source"), rows)
    return "\n".join(lines)


def _metrics() -> str:
    rows = [
        (f"`{name}`", m.title, _cell(m.definition), _cell(m.empty), m.better)
        for name, m in METRICS.working()
    ]
    lines = ["# Metrics\n", NOTE, "What each is checked against: [evaluation](../evaluation.md).\n"]
    return "\n".join(lines + _table(("name", "title", "definition", "empty masks", "better"), rows))


def _formats() -> str:
    rows = [(f"`{name}`", _cell(text)) for name, text in _purposes("formats")]
    lines = [
        "# Formats\n",
        NOTE,
        "`hilum import FORMAT DIR --out DIR`: [datasets](../datasets.md).\n",
    ]
    lines += _table(("format", "layout"), rows)
    lines.append("\nSettings: [import-pattern, import-table, import-dicom](settings.md).\n")
    lines.append("Folders that hilum writes: [data model](../data-model.md).")
    return "\n".join(lines)


def _python() -> str:
    lines = ["# Python\n", NOTE, "What `import hilum` offers; each command is a function.\n"]
    for name, place in sorted(hilum._PLACES.items()):
        module, _, attribute = place.partition(":")
        if not attribute:
            found = getattr(importlib.import_module(module), "calls", None)
            if found is None:
                continue
            module, _, attribute = found.partition(":")
        lines += [f"## hilum.{name}\n", f"::: {module}.{attribute}\n"]
    return "\n".join(lines)


def _objects(title: str, text: str, paths: Iterable[str]) -> str:
    return "\n".join([f"# {title}\n", NOTE, f"{text}\n", *(f"::: {path}\n" for path in paths)])


def _classes(kind: str) -> list[str]:
    table = _table_of(kind)
    return [table.origin(name).path.replace(":", ".") for name in table]


def _table_of(kind: str) -> Table:
    module, attribute = TABLES[kind]
    return getattr(importlib.import_module(module), attribute)


def _purposes(kind: str) -> Iterator[tuple[str, str]]:
    from hilum.cli.inventory import purpose

    table = _table_of(kind)
    for name in table:
        yield name, purpose(table, name)


def _cited(table: Table, name: str) -> str:
    citation = None if table.objects else table.facts(name).values.get("citation")
    return f"{citation[0]}, {citation[2]} {citation[3]}, {citation[4]}" if citation else ""


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "| " + "--- | " * len(head)]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def _text(text: str | None) -> str:
    return _cell(" ".join((text or "").split()))


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`" if text else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("\n", " ")
