"""The page of the data model names what the code writes: files, fields and keys."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from hilum.core.files import read_json
from hilum.datasets.batch import Batch, Sample
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.store.case_store import CaseStore

from ..tiny_cohort import manifest, store  # noqa: F401
from .pages import DOCS

PAGE = (DOCS / "data-model.md").read_text("utf-8")
RATERS = {"raters.npy", "mixed.npy"}
"""Files that the page names for labels of several raters, which this cohort has not."""


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def fields(name: str) -> set[str]:
    """Return the names in the first column of a file's table."""
    table = section("Case store").split(f"| `{name}` | is |")[1].split("\n\n")[0]
    cells = re.findall(r"^\| (.*?) \|", table, re.M)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_a_batch_has_the_keys_of_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", section("Batch"), re.M)
    assert {name for name, *_ in rows} == set(Batch.__annotations__)
    assert set(Sample.__annotations__) <= set(Batch.__annotations__)


def test_a_patch_has_the_types_and_shapes_of_the_table(store: CaseStore) -> None:  # noqa: F811
    dataset = PatchDataset(store, store.ids[:1], PatchSettings((8, 8, 8)), 1, 0)
    rows = re.findall(r"^\| `(\w+)` \| (\w+) `\[B, (.*?)\]`", section("Batch"), re.M)
    sides = {"M": 2, "D": 8, "H": 8, "W": 8}
    seen = 0
    for name, kind, shape in rows:
        found = dict(dataset[0]).get(name)
        if isinstance(found, torch.Tensor):
            wanted = tuple(sides.get(n, 1) for n in shape.split(", "))
            assert (str(found.dtype), tuple(found.shape)) == (f"torch.{kind}", wanted), name
            seen += 1
    assert seen >= 4


def test_a_store_has_the_files_of_the_tree(store: CaseStore) -> None:  # noqa: F811
    tree = section("Case store").split("```")[1]
    named = set(re.findall(r"^    ([\w<>]+\.\w+)", tree, re.M))
    there = {file.name for file in (store.path / store.ids[0]).iterdir()}
    assert named - RATERS == {re.sub(r"^\w+\.key$", "<hash>.key", name) for name in there}
    top = set(re.findall(r"^  ([\w.]*\.\w+)", tree, re.M))
    assert top == {file.name for file in store.path.iterdir() if file.is_file()}


@pytest.mark.parametrize("name", ["store.json", "case.json"])
def test_a_file_has_the_fields_that_are_listed(store: CaseStore, name: str) -> None:  # noqa: F811
    folder = store.path if name == "store.json" else store.path / store.ids[0]
    optional = {"raters", "shares"} if name == "case.json" else set()
    assert fields(name) - optional == set(read_json(folder / name))


@pytest.mark.parametrize("name", ["Encoder folder", "Run folder"])
def test_the_files_of_the_other_folders_are_written_by_the_code(name: str) -> None:
    tree = section(name).split("```")[1]
    code = "\n".join(
        file.read_text("utf-8")
        for room in ("core", "training", "encoders")
        for file in Path(DOCS.parent / "hilum" / room).rglob("*.py")
    )
    files = re.findall(r"^  (?:[\w]+/)*([\w.]+)  ", tree, re.M)
    assert len(files) >= 3
    assert not [file for file in files if f'"{file}"' not in code and f'/{file}"' not in code]
