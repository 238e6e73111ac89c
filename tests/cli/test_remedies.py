"""What errors and notes tell the user to type exists: commands, options and settings."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer

from hilum.cli.app import app

ROOT = Path(__file__).parents[2]
ROOMS = ("datasets", "pretrain", "fusion", "finetune", "hilum")
FRONT: Any = typer.main.get_command(app)
FOREIGN = {
    "hilum/contracts/run.py": "pytest",
    "hilum/exchange/networks_out/bundle_readme.py": "monai.bundle",
    "hilum/exchange/networks_out/monai_bundle.py": "monai.bundle",
    "hilum/study/run/slurm.py": "sbatch and squeue",
    "hilum/training/provenance.py": "git",
}
"""Files that call another program, and which: their options are not ours."""


FOREIGN_CALL = re.compile(r"hf download [^`]*|nnUNetv2_[^`\n]*")
"""Calls of other programs, in messages of ours."""
NAMED = re.compile(r"--(?:name|value|modality) (?:'[^']*'|\S+)|, got .*")
"""What these options take are words of the data, not settings; what came in is no advice."""
PLACEHOLDERS = {"key", "word", "class", "x", "suv", "a", "b"}
"""In messages that say how a thing is written."""
DOORS = {
    "datasets/importers/": [("import",), ("predict",)],
    "datasets/dicom/": [("import",), ("predict",)],
    "datasets/suv/": [("import",), ("predict",)],
    "datasets/io/": [("import",)],
    "datasets/prepare/": [("prepare",)],
    "datasets/check/": [("import",), ("check",)],
    "hilum/segmenter/prediction/inputs.py": [("predict",)],
    "hilum/segmenter/prediction/patient.py": [("predict",)],
    "hilum/cli/predict.py": [("predict",)],
    "hilum/cli/evaluate.py": [("evaluate",)],
    "hilum/cli/average.py": [("average",)],
    "hilum/cli/compare.py": [("compare",)],
    "hilum/cli/weights.py": [("import-weights",)],
    "hilum/exchange/weights_in/": [("import-weights",), ("inspect",)],
}
"""Commands that can say what files say, where these are few."""


class Text(NamedTuple):
    """A string of the sources, with X for what is filled in."""

    file: str
    line: int
    text: str
    shown: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def plain(node: ast.AST) -> str | None:
    """Return the text of a string, an f-string or a sum of them; X stands for other values."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(plain(part) or "X" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "X"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = plain(node.left), plain(node.right)
        return None if left is None and right is None else (left or "X") + (right or "X")
    if isinstance(node, ast.IfExp):
        return f"{plain(node.body) or 'X'} {plain(node.orelse) or 'X'}"
    return None


def is_message(node: ast.AST) -> bool:
    """Say whether what a node holds is shown to the user: an error, a note, words for them."""
    if isinstance(node, ast.Call):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        return name.endswith("Error") or name in ("Note", "Problem", "LeftOut", "bad", "say")
    if isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        return bool({*names} & {"remedy", "text", "found", "rule", "words", "advice", "why"})
    return isinstance(node, ast.keyword) and node.arg in ("remedy", "found")


def texts_of(node: ast.AST, file: str, shown: bool = False) -> Iterator[Text]:
    """Yield every string below a node but docstrings, each once and as a whole."""
    text = plain(node)
    if text is not None:
        yield Text(file, getattr(node, "lineno", 0), text, shown)
        return
    for name, value in ast.iter_fields(node):
        children = value if isinstance(value, list) else [value]
        for number, child in enumerate(children):
            if not isinstance(child, ast.AST):
                continue
            docstring = name == "body" and number == 0 and isinstance(child, ast.Expr)
            if docstring and plain(child.value) is not None:
                continue
            yield from texts_of(child, file, shown or is_message(child))


def sources() -> list[Path]:
    found = [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    return list({file.resolve(): file for file in found}.values())


@functools.cache
def trees() -> dict[str, ast.Module]:
    """Return every source by its file; not at import, which every worker does."""
    return {str(f.relative_to(ROOT)): ast.parse(f.read_text("utf-8")) for f in sources()}


@functools.cache
def texts() -> list[Text]:
    return [text for file, tree in trees().items() for text in texts_of(tree, file)]


def options_of(command: Any) -> dict[str, Any]:
    own = {option: one for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return own | {"--help": None}


def commands(group: Any = FRONT, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found = {}
    for name, command in group.commands.items():
        found[(*before, name)] = command
        if hasattr(command, "commands"):
            found |= commands(command, (*before, name))
    return found


COMMANDS = commands()


def calls(text: str) -> Iterator[list[str]]:
    """Yield the words after each `hilum` that is followed by a command, or stands in backquotes."""
    for quoted in re.findall(r"`hilum ([^`]+)`", text):
        yield quoted.split()
    for rest in re.findall(r"(?<![`\w./-])hilum ([a-z][-a-z]*(?: [^`;,()]*)?)", text):
        words = rest.split()
        if any(words[0] == path[0] for path in COMMANDS):
            yield words


def wrong_in(words: list[str]) -> str:
    """Return what is wrong with the words of a command line, or nothing."""
    path: tuple[str, ...] = ()
    while words and (*path, words[0]) in COMMANDS:
        path, words = (*path, words[0]), words[1:]
    if not path:
        return f"no command {words[0]}"
    command = COMMANDS[path]
    if hasattr(command, "commands"):
        return f"no command {' '.join(path)} {words[0]}" if words and words[0].islower() else ""
    known = options_of(command)
    for word in words:
        option = word.partition("=")[0].strip("'\".:")
        if option.startswith("-") and not option.strip("-").isdigit() and option not in known:
            return f"hilum {' '.join(path)} has no {option}"
    return ""


def test_the_walk_finds_what_there_is() -> None:
    assert len(texts()) > 3000
    assert sum(text.shown for text in texts()) > 300
    (one,) = [text for text in texts() if "which `hilum check` compares" in text.text]
    assert one.file.endswith("unknown_names.py")
    assert wrong_in(["predict", "--pett", "x"]) == "hilum predict has no --pett"
    assert wrong_in(["study", "rerun"]) == "no command study rerun"
    known = names_of_settings()
    assert {"spacing", "registration_limit", "assume", "parts", "learning_rate"} <= known
    assert not {"spacings", "asume"} & known
    assert wrong_in(["chekc"]) == "no command chekc"


def test_every_command_line_in_a_message_is_one() -> None:
    # What names the command of a run has it from the run.
    others = [text for text in texts() if text.text != "run of `hilum X`: X"]
    wrong = [
        (str(text), why)
        for text in others
        for words in calls(text.text)
        if (why := wrong_in(words))
    ]
    assert not wrong


def commands_of(file: str) -> list[Any]:
    """Return the commands that can say what a file says."""
    for start, names in DOORS.items():
        if file.startswith(start):
            return [COMMANDS[name] for name in names]
    return [FRONT, *COMMANDS.values()]


def test_every_option_in_a_message_is_one_of_the_commands_that_say_it() -> None:
    wrong = [
        (str(text), option)
        for text in texts()
        if text.file not in FOREIGN
        for option in re.findall(r"(?<![\w-])--[a-z][-a-z_]*", FOREIGN_CALL.sub("", text.text))
        if not any(option in (*options_of(c), "--help") for c in commands_of(text.file))
    ]
    assert not wrong


def names_of_settings() -> set[str]:
    """Return the name of every setting of ours, and of every argument of a method's `__init__`.

    Read from the sources: to import every method would take a minute.
    """
    classes = [
        n for tree in trees().values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)
    ]
    settings, count = {"Settings"}, 0
    while count != len(settings):
        count = len(settings)
        settings |= {c.name for c in classes for b in c.bases if getattr(b, "id", "") in settings}
    found: set[str] = set()
    for one in classes:
        for part in one.body:
            if isinstance(part, ast.AnnAssign) and one.name in settings:
                found.add(ast.unparse(part.target))
            elif isinstance(part, ast.FunctionDef) and part.name == "__init__":
                found |= {argument.arg for argument in (*part.args.args, *part.args.kwonlyargs)}
    return found


def test_every_setting_in_a_message_is_one() -> None:
    known = names_of_settings() | PLACEHOLDERS
    wrong = [
        (str(text), key)
        for text in texts()
        if text.shown
        for key in re.findall(
            r"(?<![\w.-])([a-z_][a-z_0-9]*(?:\.[a-z_]+)*)=(?!=)", NAMED.sub("", text.text)
        )
        if not set(key.replace("transfer.classes.node", "transfer.classes").split(".")) <= known
    ]
    assert not wrong
