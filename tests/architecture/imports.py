"""The import graph of the package, read from its files at every depth."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ORDER = (
    {"core"},
    {"datasets", "encoders", "losses", "fusion", "evaluation", "training"},
    {"segmenter", "pretrain"},
    {"finetune", "exchange"},
    {"annotate", "study", "contracts"},
    {"cli"},
)
"""Rooms by layer: one may import what lies in layers before its own, and itself."""


@dataclass(frozen=True)
class Arrow:
    """One import: `source` takes `target`.

    Attributes:
        source: Dotted name of the importing module.
        target: Dotted name of the imported module.
        depth: Where the statement stands: `module`, `function`, or `typing` (below TYPE_CHECKING).
        relative: Whether it is written with dots.
    """

    source: str
    target: str
    depth: str
    relative: bool

    def __str__(self) -> str:
        where = "" if self.depth == "module" else f" ({self.depth})"
        return f"{self.source} -> {self.target}{where}"


def modules_of(package: Path) -> dict[str, Path]:
    """Return the file of every module below a package, by dotted name; links are followed."""
    found = {}
    for path in sorted(_files(package)):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows_of(modules: Mapping[str, Path]) -> list[Arrow]:
    """Return every import between the modules, each once."""
    found = (
        Arrow(name, target, depth, relative)
        for name, path in modules.items()
        for target, depth, relative in _imports(name, path, modules)
        if target != name
    )
    return list(dict.fromkeys(found))


def room_of(module: str) -> str:
    """Return the room of a module; that of the package's own files is empty."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and any(parts[1] in layer for layer in ORDER) else ""


def against_the_order(arrows: Iterable[Arrow]) -> list[str]:
    """Return imports of a room that does not come before one's own, typing ones included."""
    layer = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
    return [
        str(arrow)
        for arrow in arrows
        if (ours := room_of(arrow.source))
        and (theirs := room_of(arrow.target)) != ours
        and (not theirs or layer[theirs] >= layer[ours])
    ]


def in_the_wrong_form(arrows: Iterable[Arrow]) -> list[str]:
    """Return relative imports of another room, and absolute ones of one's own."""
    return [
        str(arrow)
        for arrow in arrows
        if room_of(arrow.source)
        and arrow.relative != (room_of(arrow.source) == room_of(arrow.target))
    ]


def circles(pairs: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Return the sets of names that reach each other, larger than one."""
    follow: dict[str, set[str]] = {}
    for source, target in pairs:
        follow.setdefault(source, set()).add(target)
    reach = {name: _reach(name, follow) for name in follow}
    found: list[set[str]] = []
    for name in sorted(reach):
        circle = {other for other in reach[name] if name in reach.get(other, ())}
        if len(circle) > 1 and circle not in found:
            found.append(circle)
    return found


def _reach(start: str, follow: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for other in follow.get(todo.pop(), ()):
            if other not in seen:
                seen.add(other)
                todo.append(other)
    return seen


def _files(package: Path) -> Iterator[Path]:
    for path in package.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            yield from _files(path)
        elif path.suffix == ".py":
            yield path


def _imports(name: str, path: Path, modules: Mapping[str, Path]) -> Iterator[tuple[str, str, bool]]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST, depth: str) -> Iterator[tuple[str, str, bool]]:
        for child in ast.iter_child_nodes(node):
            inner = depth
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = "function"
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                inner = "typing"
            if isinstance(child, ast.Import | ast.ImportFrom):
                relative = isinstance(child, ast.ImportFrom) and child.level > 0
                for target in _targets(child, package, modules):
                    yield target, depth, relative
            yield from walk(child, inner)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), "module")


def _targets(
    node: ast.Import | ast.ImportFrom, package: str, modules: Mapping[str, Path]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name in modules)
        return
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([node.module] if node.module else [])])
    for alias in node.names:
        if f"{base}.{alias.name}" in modules:
            yield f"{base}.{alias.name}"
        elif base in modules:
            yield base
