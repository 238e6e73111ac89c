"""The import graph of the package, read from its files at every depth."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Arrow:
    """One import: `source` takes `target`.

    Attributes:
        source: Dotted name of the importing module.
        target: Dotted name of the imported module.
        depth: Where the statement stands: `module`, `function`, or `typing` (below TYPE_CHECKING).
    """

    source: str
    target: str
    depth: str


def modules_of(package: Path) -> dict[str, Path]:
    """Return the file of every module below a package, by dotted name; links are followed."""
    found = {}
    for path in sorted(_files(package)):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows_of(modules: dict[str, Path]) -> list[Arrow]:
    """Return every import between the modules."""
    return [
        Arrow(name, target, depth)
        for name, path in modules.items()
        for target, depth in _imports(name, path, modules)
        if target != name
    ]


def circles(pairs: set[tuple[str, str]]) -> list[set[str]]:
    """Return the sets of modules that reach each other (Tarjan 1972), larger than one."""
    follow: dict[str, list[str]] = {}
    for source, target in sorted(pairs):
        follow.setdefault(source, []).append(target)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in follow.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            part: set[str] = set()
            while node not in part:
                part.add(stack.pop())
            if len(part) > 1:
                found.append(part)

    for node in sorted(follow):
        if node not in index:
            visit(node)
    return found


def _files(package: Path) -> Iterator[Path]:
    for path in package.iterdir():
        if path.is_dir() and path.name != "__pycache__":
            yield from _files(path)
        elif path.suffix == ".py":
            yield path


def _imports(name: str, path: Path, modules: dict[str, Path]) -> Iterator[tuple[str, str]]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST, depth: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inner = depth
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                inner = "function"
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                inner = "typing"
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield from ((target, depth) for target in _targets(child, package, modules))
            yield from walk(child, inner)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), "module")


def _targets(
    node: ast.Import | ast.ImportFrom, package: str, modules: dict[str, Path]
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
