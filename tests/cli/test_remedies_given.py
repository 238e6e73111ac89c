"""An error says what to do; the few that do not yet are counted, and their number only falls."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

from hilum.core import errors

from .test_remedies import plain, trees

ERRORS = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.UserError)
}
WITHOUT = 53
"""Errors without a remedy. A new error has one; whoever adds some to old ones lowers this."""
FIRST_MET = ("hilum/cli/", "datasets/splits.py", "datasets/labelling.py", "datasets/manifest.py")
"""Where a user begins: here every error says what to do."""


def errors_of(file: str, tree: ast.AST) -> list[tuple[str, bool]]:
    """Return each error that a source raises or makes, and whether it has a remedy."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name in ERRORS and node.args:
            rule = plain(node.args[0]) or ast.unparse(node.args[0])
            # `**more` may hold one.
            has = any(keyword.arg in ("remedy", None) for keyword in node.keywords)
            found.append((f"{file}:{node.lineno}: {rule}", has))
    return found


def without() -> list[str]:
    every = [one for file, tree in trees().items() for one in errors_of(file, tree)]
    assert len(every) > 600
    return [text for text, has in every if not has]


def test_the_walk_tells_errors_with_a_remedy_from_those_without() -> None:
    source = """
raise DataError("a", remedy="b")
raise errors.SettingsError(f"{a} must be {b}", found=c)
raise RunError("c", **more)
raise ValueError("d")
"""
    assert errors_of("x.py", ast.parse(source)) == [
        ("x.py:2: a", True),
        ("x.py:3: X must be X", False),
        ("x.py:4: c", True),
    ]


def test_no_more_errors_than_before_leave_the_user_without_a_remedy() -> None:
    found = without()
    by_folder = Counter(str(Path(text).parent) for text in found)
    assert len(found) <= WITHOUT, f"give new errors a remedy: {by_folder.most_common(8)}"
    assert len(found) == WITHOUT, f"well done: set WITHOUT to {len(found)}"


def test_what_a_user_meets_first_always_says_what_to_do() -> None:
    assert not [text for text in without() if text.startswith(FIRST_MET)]
