"""What the source of a module says, read without importing it."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What a class says of itself.

    Attributes:
        summary: First line of its docstring.
        values: Attributes of its body that are literals, by name.
    """

    summary: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@functools.cache
def facts_of(path: str) -> Facts:
    """Return the facts of `module:Class`; none if no such class is written there.

    Parents of the module are imported, the module is not.
    """
    module, _, name = path.partition(":")
    file = file_of(module)
    for node in _tree(file).body if file else ():
        if isinstance(node, ast.ClassDef) and node.name == name:
            doc = (ast.get_docstring(node) or "").splitlines()
            return Facts(doc[0] if doc else "", dict(_literals(node)))
    return Facts()


def file_of(module: str) -> Path | None:
    """Return the Python file of a module, or nothing if it has none here."""
    try:
        spec = find_spec(module)
    except Exception:  # a parent package may fail in any way while it is imported
        return None
    file = Path(spec.origin) if spec is not None and spec.origin else None
    return file if file is not None and file.suffix == ".py" else None


def source_hash(module: str) -> str:
    """Return a hash of a module's source and of what it imports from its own top-level package.

    Another version of any of these files is another method; what other packages do is not seen.
    """
    top = module.partition(".")[0]
    found: dict[str, bytes] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        file = file_of(name) if name not in found else None
        if file is None:
            continue
        found[name] = file.read_bytes()
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        todo += [other for other in _imports(_tree(file), package) if _inside(other, top)]
        todo += [package] if _inside(package, top) else []
    total = hashlib.sha256()
    for name in sorted(found):
        total.update(f"{name} {len(found[name])} ".encode() + found[name])
    return total.hexdigest()[:16]


def _inside(module: str, top: str) -> bool:
    return module == top or module.startswith(f"{top}.")


def _tree(file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return ast.Module([], [])


def _literals(node: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else []
        targets = [line.target] if isinstance(line, ast.AnnAssign) else targets
        value = line.value if isinstance(line, ast.Assign | ast.AnnAssign) else None
        for target in targets if value is not None else ():
            if isinstance(target, ast.Name):
                try:
                    yield target.id, ast.literal_eval(value)  # pyright: ignore[reportArgumentType]
                except ValueError:
                    continue


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every module that is, or that may be, imported somewhere in a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level]
            start = above if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
