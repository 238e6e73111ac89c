"""The rooms import one way only, without circles, and files stay short."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import imports as graph

ROOT = Path(__file__).parents[2]
STAGES = ("datasets", "fusion", "pretrain", "finetune")
ROOMS = sorted(path.parent.name for path in (ROOT / "hilum").glob("*/__init__.py"))
FILES = [path for room in ROOMS for path in sorted((ROOT / "hilum" / room).glob("**/*.py"))]

COMMANDS = "a command imports what it needs when it runs: `hilum --help` loads none of it"
EXTRA = "stands on an optional dependency"
HEAVY = "stands on a library that takes a second to import, which few callers need"
STATUS = "the commands that only look at a study load neither torch nor SciPy"
LATER: dict[str, tuple[str, ...]] = {
    COMMANDS: ("hilum.cli ->",),
    EXTRA: (
        "hilum.annotate.taking.reviewed -> hilum.datasets.dicom.segmentation",
        "hilum.datasets.augmentation.spatial -> hilum.datasets.augmentation.kernels",
        "hilum.datasets.dicom.case -> hilum.datasets.suv",
        "hilum.datasets.dicom.case -> hilum.datasets.dicom",
        "hilum.datasets.dicom.layout -> hilum.datasets.suv",
        "hilum.datasets.dicom.visits -> hilum.datasets.dicom",
        "hilum.datasets.prepare.case -> hilum.datasets.prepare.registration",
        "hilum.exchange.dicom_out -> hilum.datasets.dicom",
    ),
    HEAVY: (
        "hilum.encoders.slices -> hilum.encoders.backbone2d",
        "hilum.exchange.weights_in.timm_hub -> hilum.encoders.timm_cnn",
        "hilum.pretrain.tasks.multimodal_tokens -> hilum.encoders.vit",
        "hilum.segmenter.prediction.viewing -> hilum.segmenter.prediction.original_grid",
    ),
    STATUS: (
        "hilum.study.commands -> hilum.study.report",
        "hilum.study.run.run_cell -> hilum.datasets.store",
        "hilum.study.run.run_cell -> hilum.finetune",
        "hilum.study.run.run_cell -> hilum.pretrain",
    ),
}
"""Imports inside functions: why, and which, by the beginning of both names."""


@pytest.fixture(scope="module")
def arrows() -> list[graph.Arrow]:
    return graph.arrows_of(graph.modules_of(ROOT / "hilum"))


def excused(arrow: graph.Arrow, rule: str) -> bool:
    """Whether a rule of `LATER` allows an import inside a function."""
    source, target = (part.strip() for part in rule.split("->"))
    return f"{arrow.source}.".startswith(f"{source}.") and arrow.target.startswith(target)


def inside_functions(arrows: list[graph.Arrow]) -> list[str]:
    rules = [rule for group in LATER.values() for rule in group]
    return [
        str(arrow)
        for arrow in arrows
        if arrow.depth == "function" and not any(excused(arrow, rule) for rule in rules)
    ]


def between_files(arrows: list[graph.Arrow]) -> list[set[str]]:
    return graph.circles((a.source, a.target) for a in arrows if a.depth != "typing")


def between_sub_rooms(arrows: list[graph.Arrow]) -> list[set[str]]:
    """Return circles between the folders of a room; its own files lie above and below them."""
    places = {(place(a.source), place(a.target)) for a in arrows if a.depth != "typing"}
    return graph.circles((a, b) for a, b in places if a and b and a != b)


def place(module: str) -> str:
    """Return the folder in a room that a module lies in; empty for the room's own files."""
    parts = module.split(".")
    folder = ROOT.joinpath(*parts[:3])
    return ".".join(parts[:3]) if folder.is_dir() and len(parts) > 2 else ""


def test_a_file_imports_only_rooms_that_come_before_it(arrows: list[graph.Arrow]) -> None:
    assert len(arrows) > 1000
    assert graph.against_the_order(arrows) == []


def test_no_files_import_each_other_in_a_circle(arrows: list[graph.Arrow]) -> None:
    assert between_files(arrows) == []


def test_no_folders_of_a_room_import_each_other_in_a_circle(arrows: list[graph.Arrow]) -> None:
    assert between_sub_rooms(arrows) == []


def test_an_import_inside_a_function_is_for_start_up_time_and_says_so(
    arrows: list[graph.Arrow],
) -> None:
    assert inside_functions(arrows) == []


def test_each_excuse_is_still_needed(arrows: list[graph.Arrow]) -> None:
    late = [arrow for arrow in arrows if arrow.depth == "function"]
    for rule in (rule for group in LATER.values() for rule in group):
        assert any(excused(arrow, rule) for arrow in late), f"nothing needs {rule!r}"


def test_imports_are_absolute_from_another_room_and_relative_in_ones_own(
    arrows: list[graph.Arrow],
) -> None:
    assert graph.in_the_wrong_form(arrows) == []


PLANTED = {
    "order": ("core/planted.py", "from hilum.fusion.early import EarlyFusion\n"),
    "order at depth": ("core/deep/planted.py", "def f():\n    import hilum.study.report.page\n"),
    "order of equals": ("losses/planted.py", "from hilum.evaluation.metrics.case import case\n"),
    "order for types": (
        "datasets/io/planted.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hilum.cli.app import main\n",
    ),
    "circle": ("fusion/early.py", "def f():\n    from .planted import x\n"),
    "function": ("fusion/lazy.py", "def f():\n    from .early import x\n"),
    "method": ("fusion/lazy.py", "class A:\n    def f(self):\n        from .early import x\n"),
    "relative": ("study/run/planted.py", "from ...core.errors import UserError\n"),
    "absolute": ("study/run/planted.py", "from hilum.study.report.page import page\n"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    package = tmp_path / "hilum"
    files = {
        "core/errors.py": "",
        "fusion/early.py": "",
        "fusion/planted.py": "from .early import x\n",
        "study/report/page.py": "",
        "evaluation/metrics/case.py": "",
        "cli/app.py": "",
        **dict([PLANTED[fault]]),
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    planted = graph.arrows_of(graph.modules_of(package))
    found = {
        "order": bool(graph.against_the_order(planted)),
        "circle": bool(between_files(planted)),
        "function": bool(inside_functions(planted)),
        "form": bool(graph.in_the_wrong_form(planted)),
    }
    kind = {"method": "function", "relative": "form", "absolute": "form"}.get(fault, fault)
    assert found[kind.split()[0]]
    harmless = {name for name, is_found in found.items() if is_found} - {kind.split()[0]}
    assert harmless <= {"function"}, "one fault is planted, perhaps inside a function"


def test_folders_that_import_each_other_are_found() -> None:
    there = graph.Arrow("hilum.study.grid.cells", "hilum.study.run.local", "module", True)
    back = graph.Arrow("hilum.study.run.order", "hilum.study.grid.eta", "function", True)
    assert between_sub_rooms([there, back]) == [{"hilum.study.grid", "hilum.study.run"}]
    assert between_sub_rooms([there]) == []


def test_the_contract_of_import_linter_is_this_order() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = tables["tool"]["importlinter"]["contracts"]
    told = [{room.strip().strip("()") for room in layer.split("|")} for layer in layers["layers"]]
    assert [{room.removeprefix("hilum.") for room in layer} for layer in told] == [
        *reversed(graph.ORDER)
    ]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_a_purpose_and_at_most_300_lines(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert text.startswith('"""'), "the first line must say what the file is for"
    assert path.stem not in {"utils", "helpers", "common", "misc"}


def test_every_room_is_in_the_package_and_the_stages_are_links() -> None:
    on_disk = {path.parent.name for path in (ROOT / "hilum").glob("*/__init__.py")}
    assert on_disk <= set().union(*graph.ORDER)
    for room in STAGES:
        assert (ROOT / "hilum" / room).readlink() == Path("..") / room
        assert (ROOT / room / "__init__.py").is_file()


@pytest.mark.parametrize(
    ("room", "table", "suffix"),
    [
        ("encoders", "ENCODERS", "Encoder"),
        ("fusion", "STRATEGIES", "Fusion"),
        ("losses", "LOSSES", "Loss"),
        ("pretrain.tasks", "TASKS", ""),
    ],
)
def test_the_name_is_the_address(room: str, table: str, suffix: str) -> None:
    methods = getattr(importlib.import_module(f"hilum.{room.split('.')[0]}"), table)
    for name in methods:
        assert methods[name].__module__ == f"hilum.{room}.{name}"
        assert methods[name].__name__ == "".join(w.title() for w in name.split("_")) + suffix
        assert (ROOT / "tests" / Path(*room.split(".")) / f"test_{name}.py").exists()


def test_hugging_face_datasets_is_not_shadowed_by_our_room() -> None:
    code = "import importlib.util as u; s = u.find_spec('datasets'); print(s.origin if s else s)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert str(ROOT / "datasets") not in found.stdout
