"""Every command is a function of `import hilum`, which itself imports nothing heavy."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import hilum
from hilum.cli.app import app

GROUP = typer.main.get_command(app)
COMMANDS = GROUP.commands  # pyright: ignore[reportAttributeAccessIssue]
GROUPS = {"study": hilum.study, "annotate": hilum.annotate}
"""Commands with commands of their own, and the rooms that offer these as functions."""
INSIDE = [(group, command) for group in GROUPS for command in sorted(COMMANDS[group].commands)]
OBJECTS = {"Segmenter", "Encoder", "CaseStore", "Epochs", "Patches", "PatchesData"}
OBJECTS |= {"read_encoder", "load"}
OTHERWISE = {"import": "import_cohort"}
"""Commands whose name no function can have."""
ROOT = Path(hilum.__file__).parent


def python_name(command: str) -> str:
    return OTHERWISE.get(command, command.replace("-", "_"))


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - set(GROUPS)))
def test_a_command_is_a_function_of_its_name(command: str) -> None:
    assert python_name(command) in dir(hilum)
    function = getattr(hilum, python_name(command))
    assert callable(function)


@pytest.mark.parametrize(("group", "command"), INSIDE)
def test_a_command_of_a_group_is_a_function_of_the_room(group: str, command: str) -> None:
    assert python_name(command) in dir(GROUPS[group])
    assert callable(getattr(GROUPS[group], python_name(command)))


def test_nothing_else_is_offered() -> None:
    names = {python_name(command) for command in COMMANDS}
    assert set(hilum._PLACES) == names | OBJECTS
    for group, room in GROUPS.items():
        offered = {python_name(command) for command in COMMANDS[group].commands}
        assert set(room._PLACES) == offered
    with pytest.raises(AttributeError, match="has no attribute 'finetun'"):
        hilum.finetun  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("group", ["", *GROUPS])
def test_types_and_places_agree(group: str) -> None:
    """What an editor sees is what one gets: the same names, from the same files."""
    tree = ast.parse((ROOT / group / "__init__.py").read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom):
            start = f"hilum.{group}." if node.level else ""
            for alias in node.names:
                seen[alias.asname or alias.name] = f"{start}{node.module}:{alias.name}"
    room = GROUPS.get(group, hilum)
    places = dict(room._PLACES)
    for name, place in places.items():
        if ":" not in place:  # a room that is called: it says whom it calls
            calls = getattr(sys.modules.get(place) or __import__(place), "calls", None)
            places[name] = getattr(getattr(room, name), "calls", calls) or f"hilum:{name}"
    assert seen == places


def test_a_room_is_still_a_room_when_it_is_called_like_a_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import hilum.finetune.run as tuning
    import hilum.pretrain.run as training
    import hilum.study.commands as commands

    for file, name, room in (
        (training, "pretrain", hilum.pretrain),
        (tuning, "finetune", hilum.finetune),
        (commands, "run", hilum.study.run),
        (commands, "report", hilum.study.report),
    ):
        monkeypatch.setattr(file, name, lambda *given, name=name: (name, *given))
        assert room("a", "b") == (name, "a", "b")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_twins_have_one_signature() -> None:
    from hilum.finetune.run import finetune
    from hilum.pretrain.run import pretrain

    one, other = (inspect.signature(function) for function in (pretrain, finetune))
    assert list(one.parameters) == list(other.parameters) == ["settings", "out", "say"]
    for name in ("out", "say"):
        assert one.parameters[name].annotation == other.parameters[name].annotation
        assert one.parameters[name].default == other.parameters[name].default
    assert one.return_annotation == other.return_annotation


@pytest.mark.parametrize("code", ["import hilum; dir(hilum)", "import hilum.cli.app"])
def test_nothing_heavy_is_imported_at_the_door(code: str) -> None:
    heavy = ("torch", "numpy", "pytorch_lightning", "monai", "pydantic")
    asked = f"{code}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_command_imports_another() -> None:
    files = {file.stem for file in (ROOT / "cli").glob("*.py")}
    with_commands = {name for name in files if "@clean_stop" in _text(name)} - {"app", "console"}
    assert len(with_commands) > 8
    found = [
        f"{name} -> {node.module}"
        for name in files - {"app"}
        for node in ast.walk(ast.parse(_text(name)))
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module in with_commands
    ]
    assert not found


def _text(name: str) -> str:
    return (ROOT / "cli" / f"{name}.py").read_text("utf-8")
