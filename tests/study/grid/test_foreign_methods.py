"""A cell knows the source of a method that is not ours; a changed one makes a new cell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import SettingsError
from hilum.core.files import write_json
from hilum.core.settings import validate
from hilum.study.grid.cells import Cell, expand
from hilum.study.run import stale
from hilum.study.run.ledger import read
from hilum.study.settings import StudySettings

METHODS = {"encoder": "encoders", "fusion": "fusion", "loss": "losses"}


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file of a foreign module; nothing in it is imported to plan."""
    file = tmp_path / "lab_cells.py"
    file.write_text("class Mine:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return file


def cells(out: Path, **settings: Any) -> list[Cell]:
    values = {"name": "s", "store": "store", "factors": {"seed": [0]}, "finetune": settings}
    return expand(validate(StudySettings, values), out, "data")


@pytest.mark.parametrize("key", METHODS)
def test_the_source_of_a_foreign_method_is_part_of_a_cell(
    key: str, method: Path, tmp_path: Path
) -> None:
    (before,) = cells(tmp_path, **{key: {"name": "lab_cells:Mine"}})
    assert list(before.sources) == [key]
    method.write_text("class Mine:\n    x = 1\n")
    (after,) = cells(tmp_path, **{key: {"name": "lab_cells:Mine"}})
    assert after.key != before.key
    assert after.recipe == before.recipe
    assert "lab_cells" not in sys.modules


def test_the_task_of_a_pretraining_cell_counts_and_so_do_the_cells_that_start_from_it(
    method: Path, tmp_path: Path
) -> None:
    pretext = {"mine": {"pretrain": {"task": {"name": "lab_cells:Mine"}}}}
    study = {"name": "s", "store": "store", "factors": {"pretext": pretext}}
    before = expand(validate(StudySettings, study), tmp_path, "data")
    method.write_text("class Mine:\n    x = 1\n")
    after = expand(validate(StudySettings, study), tmp_path, "data")
    assert len(before) == 2
    assert not {cell.key for cell in before} & {cell.key for cell in after}


def test_a_cell_of_ours_has_the_key_that_it_always_had(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, fusion={"name": "late"})
    assert cell.sources == {}


def test_a_method_that_changed_since_the_cell_ran_is_named(method: Path, tmp_path: Path) -> None:
    (before,) = cells(tmp_path, fusion={"name": "lab_cells:Mine"})
    before.folder.mkdir(parents=True)
    about = {"levels": before.levels, "recipe": before.recipe, "sources": before.sources}
    write_json(before.folder / "cell.json", about)
    method.write_text("class Mine:\n    x = 1\n")
    today = cells(tmp_path, fusion={"name": "lab_cells:Mine"})
    (found,) = stale.stale(read(today), tmp_path)
    assert found.why == "the source of its fusion has changed"


def test_a_method_whose_file_is_gone_is_told_when_the_study_is_planned(
    method: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match="'lab_gone:Mine' of fusion must lie in a Python file"):
        cells(tmp_path, fusion={"name": "lab_gone:Mine"})
