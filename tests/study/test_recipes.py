"""Every recipe is valid: its settings exist and have the right types."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hilum.core.settings import Settings, load, validate
from hilum.finetune.settings import FinetuneSettings
from hilum.pretrain.settings import PretrainSettings
from hilum.study.demo import STUDY
from hilum.study.grid.cells import expand
from hilum.study.grid.checking import check_settings
from hilum.study.settings import StudySettings

RECIPES = Path(__file__).parents[2] / "recipes"
KINDS: dict[str, type[Settings]] = {"pretrain": PretrainSettings, "finetune": FinetuneSettings}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_a_recipe_is_valid_and_says_how_to_run_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for plan in re.findall(r"choose: ([^,}\s]+)", path.read_text(encoding="utf-8")):
        # Plans are made by commands of the recipe's head, which a test does not run.
        (tmp_path / plan).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / plan).write_text("patient\none\n")
    head = path.read_text(encoding="utf-8").splitlines()[:6]
    assert any(line.startswith("# hilum ") for line in head)
    assert any("Cost:" in line for line in head)
    assert any("Expected:" in line for line in head)
    if path.parent.name == "study":
        check_settings(expand(load(StudySettings, [path]), Path("out"), "data"))
    else:
        load(KINDS[path.parent.name], [path], store="store")


def test_the_demo_shows_no_label_one_and_two_beside_a_rule_without_learning() -> None:
    study = validate(StudySettings, {**STUDY, "store": "store"})
    cells = expand(study, Path("out"), "data")
    check_settings(cells)
    assert [cell.stage for cell in cells].count("pretrain") == 1
    told = {(cell.levels["arm"], cell.levels["labels"]) for cell in cells[1:]}
    nodes = "synthetic nodes, early fusion"
    assert told >= {("SUV above 4", "n=0"), (nodes, "n=0"), (nodes, "n=1"), (nodes, "n=2")}
    assert {("scratch, early fusion", "n=1"), ("scratch, late fusion", "n=2")} <= told
    assert len(cells) == 12
