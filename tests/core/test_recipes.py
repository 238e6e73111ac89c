"""A recipe is found by its name from anywhere; a file that exists is itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import SettingsError
from hilum.core.recipes import find_recipe, purpose, recipes
from hilum.core.settings import read_yaml

ROOT = Path(__file__).parents[2]


def test_every_recipe_of_the_repository_is_there_and_says_what_it_is_for() -> None:
    files = {f"{f.parent.name}/{f.stem}" for f in (ROOT / "recipes").glob("*/*.yaml")}
    assert set(recipes()) == files
    assert files
    for file in recipes().values():
        assert len(purpose(file)) > 20
        assert read_yaml(file)


def test_the_command_decides_between_recipes_of_one_name(tmp_path: Path) -> None:
    assert find_recipe("few_label", "finetune") == recipes()["finetune/few_label"]
    assert find_recipe("few_label", "study") == recipes()["study/few_label"]
    assert find_recipe("study/few_label", "finetune") == recipes()["study/few_label"]
    assert find_recipe("laptop") == recipes()["pretrain/laptop"]
    with pytest.raises(SettingsError, match="say which: finetune/few_label or study/few_label"):
        find_recipe("few_label")
    with pytest.raises(SettingsError, match="did you mean 'laptop'"):
        find_recipe("latpop", "pretrain")


def test_a_file_that_exists_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "laptop").write_text("seed: 3\n")
    assert find_recipe("laptop", "pretrain") == Path("laptop")
    assert find_recipe("absent.yaml") == Path("absent.yaml")


def test_commands_take_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    # The recipe is found, and so what is wrong is the store.
    asked = ["finetune", "--out", "r", "-c", "few_label", "--dry-run", "store=s"]
    assert "store.json" in str(run(app, asked).exception)
    listed = run(app, ["recipes"]).output
    assert all(key in listed for key in recipes())
    printed = run(app, ["recipes", "pretrain/laptop"]).output
    assert printed.strip() == recipes()["pretrain/laptop"].read_text("utf-8").strip()
    planned = run(app, ["study", "plan", "few_labl", "--out", "o"])
    assert isinstance(planned.exception, SettingsError)
    assert not list(tmp_path.iterdir())
