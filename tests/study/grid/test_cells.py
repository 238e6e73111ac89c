"""A study file becomes cells: each run once, with its own settings, name and folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import SettingsError
from hilum.core.settings import validate
from hilum.study.grid.arms import arm, repeating, run_of
from hilum.study.grid.cells import expand
from hilum.study.run.ledger import equal
from hilum.study.run.ledger import read as ledger
from hilum.study.settings import StudySettings

OUT = Path("runs")


def study(**more: Any) -> StudySettings:
    values: dict[str, Any] = {
        "name": "s",
        "store": "store",
        "factors": {
            "pretext": {
                "scratch": {"trainer.learning_rate": 0.003},
                "mae": {"pretrain": {"task": {"name": "masked_autoencoder"}}},
            },
            "fusion": {
                "early": {"fusion": {"name": "early"}},
                "late": {"fusion": {"name": "late"}},
            },
            "seed": [0, 1],
        },
        "pretrain": {"trainer.steps": 10},
        "finetune": {"trainer.steps": 5},
    }
    return validate(StudySettings, values | more)


def test_the_grid_is_complete_and_pretraining_comes_first_and_once() -> None:
    cells = expand(study(), OUT, "data")
    assert [cell.stage for cell in cells] == ["pretrain"] + ["finetune"] * 8
    assert len({cell.folder for cell in cells}) == 9
    assert {cell.needs for cell in cells if cell.levels.get("pretext") == "mae"} >= {
        cells[0].folder
    }


def test_a_method_s_name_alone_makes_the_same_cells() -> None:
    short = {
        "pretext": {
            "scratch": {"trainer.learning_rate": 0.003},
            "mae": {"pretrain": {"task": "masked_autoencoder"}},
        },
        "fusion": {"early": {"fusion": "early"}, "late": {"fusion": "late"}},
        "seed": [0, 1],
    }
    cells = expand(study(factors=short, reference={"fusion": "early"}), OUT, "data")
    assert [cell.key for cell in cells] == [cell.key for cell in expand(study(), OUT, "data")]
    (one, *_) = expand(
        study(finetune={"loss": "tversky", "loss.alpha": 0.2}, factors={"fusion": ["early"]}),
        OUT,
        "data",
    )
    assert one.settings["loss"] == {"name": "tversky", "alpha": 0.2}
    assert one.settings["fusion"] == {"name": "early"}


def test_settings_come_from_constants_and_levels() -> None:
    cells = expand(study(), OUT, "data")
    assert cells[0].settings == {
        "store": "store",
        "trainer": {"steps": 10},
        "task": {"name": "masked_autoencoder"},
    }
    scratch = next(c for c in cells if c.name == "scratch > late > 1")
    assert scratch.settings == {
        "store": "store",
        "trainer": {"steps": 5, "learning_rate": 0.003},
        "fusion": {"name": "late"},
        "seed": 1,
    }
    assert scratch.needs is None
    pretrained = next(c for c in cells if c.name == "mae > early > 0")
    assert pretrained.settings["init_from"] == str(cells[0].folder / "encoder")


def test_a_seed_of_the_pretraining_changes_it_and_begins_none() -> None:
    seeds = {"a": {"seed": 0, "pretrain.seed": 0}, "b": {"seed": 1, "pretrain.seed": 1}}
    cells = expand(study(factors=study().factors | {"seed": seeds}), OUT, "data")
    pretraining = [cell for cell in cells if cell.stage == "pretrain"]
    assert [cell.settings["seed"] for cell in pretraining] == [0, 1]
    assert all(cell.settings["task"] == {"name": "masked_autoencoder"} for cell in pretraining)
    assert [cell.levels for cell in pretraining] == [
        {"pretext": "mae", "seed": "a"},
        {"pretext": "mae", "seed": "b"},
    ]
    for cell in cells:
        if cell.levels.get("pretext") == "scratch":
            assert cell.needs is None
            assert "pretrain" not in cell.settings
    by_seed = {c.levels["seed"]: c.needs for c in cells if c.name.startswith("mae > late")}
    assert by_seed == {"a": pretraining[0].folder, "b": pretraining[1].folder}


def test_two_levels_that_pretrain_are_merged_and_none_is_lost() -> None:
    length = {"short": {"pretrain": {"trainer.steps": 3}}, "long": {"pretrain": {"seed": 7}}}
    cells = expand(study(factors=study().factors | {"length": length}), OUT, "data")
    found = [c.settings for c in cells if c.stage == "pretrain" and "pretext" in c.levels]
    mae = [s for s in found if s.get("task") == {"name": "masked_autoencoder"}]
    assert [(s["trainer"]["steps"], s.get("seed")) for s in mae] == [(3, None), (10, 7)]


def test_groups_are_joined_setting_by_setting_in_the_order_of_constants_and_factors() -> None:
    factors = {
        "first": {"a": {"trainer": {"steps": 7, "workers": 1}, "pretrain.trainer.steps": 2}},
        "second": {
            "b": {
                "trainer": {"workers": 3},
                "loss": {"name": "cc"},
                "pretrain": {"task": "simmim", "trainer": {"steps": 4}},
            }
        },
        "third": {"c": {"trainer.steps": 9, "pretrain.trainer.batch_size": 2}},
    }
    finetune = {"trainer": {"learning_rate": 0.5}, "loss": {"name": "tversky", "alpha": 0.2}}
    asked = study(factors=factors, finetune=finetune, pretrain={"trainer": {"steps": 1, "seed": 5}})
    before = asked.model_dump()
    pretraining, cell = expand(asked, OUT, "data")
    assert cell.settings["trainer"] == {"learning_rate": 0.5, "steps": 9, "workers": 3}
    assert cell.settings["loss"] == {"name": "cc"}, "a method of another name starts anew"
    assert pretraining.settings["trainer"] == {"steps": 4, "seed": 5, "batch_size": 2}
    assert asked.model_dump() == before


def test_a_pool_of_a_level_takes_the_place_of_the_study_s() -> None:
    sites = {"both": {}, "one": {"store": {"lung": "c"}}}
    asked = study(store={"lung": "a", "neck": "b"}, factors={"site": sites, "seed": [0]})
    cells = expand(asked, OUT, str)
    assert [cell.settings["store"] for cell in cells] == [
        {"lung": "a", "neck": "b"},
        {"lung": "c"},
    ]


def test_a_level_that_changes_nothing_is_refused_and_a_combination_is_named() -> None:
    arms = {"a": {}, "b": {"trainer": {"steps": 5}}}
    with pytest.raises(SettingsError, match=r"level 'b' of 'arm' must change .* found b > 0"):
        expand(study(factors={"arm": arms, "seed": [0, 1]}), OUT, "data")
    with pytest.raises(SettingsError, match="'seed' has level 1 twice"):
        study(factors={"seed": [0, 1, 1]})
    pre = {"x": {"pretrain.seed": 0}, "y": {"pretrain.seed": 1}}
    cells = expand(study(factors=study().factors | {"pre": pre}), OUT, "data")
    also = {cell.name: cell.also for cell in cells if cell.also}
    assert also["scratch > early > 0 > x"] == ("scratch > early > 0 > y",)
    assert not any(name.startswith("mae") for name in also)
    [line] = equal(ledger(cells))
    assert line.startswith("4 combinations have the settings of another and no cell of its own: ")
    assert "scratch > early > 0 > y (as scratch > early > 0 > x)" in line
    assert equal(ledger(expand(study(), OUT, "data"))) == []


def test_repetitions_are_described_by_what_they_set() -> None:
    factors: dict[str, Any] = {
        "arm": {"a": {}, "b": {"pretrain": {"task": "simmim"}}},
        "run": {"r0": {"seed": 0, "split.draw": 4}, "r1": {"seed": 1, "split": {"draw": 5}}},
        "part": {"f1": {"split.fold": 1, "pretrain.split.fold": 1}},
        "pretrain.seed": [7, 8],
    }
    asked = study(factors=factors)
    assert repeating(asked) == {"run", "part", "pretrain.seed"}
    cell = expand(asked, OUT, "data")[-1]
    assert cell.described == {"arm": "b", "split.draw": 5, "split.fold": 1, "seed": "r1 8"}
    assert (arm(cell.described), run_of(cell.described)) == ("arm: b", (5, "r1 8"))
    mixed = study(factors={"run": {"r0": {"seed": 0}, "r1": {"seed": 1, "trainer.steps": 9}}})
    assert repeating(mixed) == set()
    named = {"seed": {"0": {"seed": 0, "split.draw": 2}}, "arm": {"a": {}}}
    [cell] = expand(study(factors=named), OUT, "data")
    assert run_of(cell.described) == (2, "0")


def test_adding_a_level_keeps_the_identity_of_the_others() -> None:
    before = {cell.key for cell in expand(study(), OUT, "data")}
    factors = study().factors | {"seed": [0, 1, 2]}
    after = {cell.key for cell in expand(study(factors=factors), OUT, "data")}
    assert before < after
    assert len(after) == 1 + 12


def test_identity_follows_data_and_settings_but_not_places() -> None:
    keys = {cell.key for cell in expand(study(), OUT, "data")}
    assert keys == {cell.key for cell in expand(study(), Path("elsewhere"), "data")}
    assert keys == {cell.key for cell in expand(study(store="moved"), OUT, "data")}
    assert not keys & {cell.key for cell in expand(study(), OUT, "other data")}
    changed = expand(study(pretrain={"trainer.steps": 11}), OUT, "data")
    assert changed[0].key not in keys
    assert {c.key for c in changed if not c.needs and c.stage == "finetune"} < keys
    assert not {c.key for c in changed if c.needs} & keys, "a new encoder makes a new cell"


def test_a_cell_is_another_one_if_its_plan_names_others(tmp_path: Path) -> None:
    file = tmp_path / "labelling.csv"
    asked = study(finetune={"split": {"choose": str(file)}})
    keys = []
    for text in ("patient\na\n", "patient\nb\n", "rank,patient\n1,a\n"):
        file.write_text(text)
        keys.append([cell.key for cell in expand(asked, tmp_path)])
    assert keys[0] == keys[2] != keys[1]


def test_a_cell_is_another_one_if_its_weights_were_made_again(tmp_path: Path) -> None:
    factors = {"seed": [0, 1], "start": {"near": {"init_from": str(tmp_path)}, "scratch": {}}}
    asked, keys = study(factors=factors), []
    for text in ("one", "two", "one"):
        (tmp_path / "model.safetensors").write_text(text)
        keys.append({cell.name: cell.key for cell in expand(asked, tmp_path)})
    assert keys[0] == keys[2]
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"0 > near", "1 > near"}


def test_a_pretraining_of_the_study_makes_no_other_cells_once_it_is_done(tmp_path: Path) -> None:
    before = expand(study(), tmp_path)
    encoder = before[0].folder / "encoder"
    encoder.mkdir(parents=True)
    (encoder / "model.safetensors").write_text("weights")
    assert [cell.key for cell in expand(study(), tmp_path)] == [cell.key for cell in before]


def test_excluded_combinations_are_left_out() -> None:
    cells = expand(study(exclude=[{"pretext": "mae", "fusion": "late"}]), OUT, "data")
    assert len(cells) == 1 + 6
    assert not [c for c in cells if c.levels == {"pretext": "mae", "fusion": "late", "seed": 0}]
    rows = [{"pretext": ["mae", "scratch"], "fusion": "late", "seed": [1]}]
    cells = expand(study(exclude=rows), OUT, "data")
    late = [c.levels for c in cells if c.levels.get("fusion") == "late"]
    assert late == [
        {"pretext": "scratch", "fusion": "late", "seed": 0},
        {"pretext": "mae", "fusion": "late", "seed": 0},
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"factors": {"seed": []}}, "factor 'seed' has no levels"),
        ({"exclude": [{"pretex": "mae"}]}, "exclude names 'pretex', which is no factor"),
        ({"exclude": [{"fusion": "midle"}]}, "level 'midle' of 'fusion'; it has early, late"),
        ({"exclude": [{"fusion": ["late", "midle"]}]}, "level 'midle' of 'fusion'"),
        ({"exclude": [{"fusion": ["late"]}]}, "all cells with level \\['late'\\] of 'fusion'"),
        ({"reference": {"seed": 7}}, "reference names level 7 of 'seed'"),
        ({"nam": "x"}, "nam: unknown setting, did you mean 'name'"),
    ],
)
def test_a_slip_in_the_study_file_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        study(**more)


def test_ten_thousand_cells_are_planned_at_once() -> None:
    factors = study().factors | {"seed": list(range(50)), "split.draw": list(range(50))}
    began = time.perf_counter()
    cells = expand(study(factors=factors), OUT, "data")
    assert len(cells) == 1 + 10_000
    assert len({cell.folder for cell in cells}) == len(cells)
    assert time.perf_counter() - began < 60  # a guard against a quadratic planner, not a timing


def test_a_level_that_sets_one_key_of_a_shared_group_sets_it_for_its_own_cells_only() -> None:
    factors = {"rate": {"slow": {}, "fast": {"trainer.learning_rate": 0.1}}, "seed": [0]}
    constants = {"trainer": {"steps": 5, "learning_rate": 0.01}}
    given = study(factors=factors, finetune=constants)
    slow, fast = expand(given, OUT, "data")
    assert slow.settings["trainer"] == {"steps": 5, "learning_rate": 0.01}
    assert fast.settings["trainer"] == {"steps": 5, "learning_rate": 0.1}
    assert given.finetune == constants
    assert [cell.key for cell in expand(given, OUT, "data")] == [slow.key, fast.key]


def test_a_cell_without_labels_begins_from_the_whole_network() -> None:
    values = {
        "store": "store",
        "factors": {
            "arm": {"nodes": {"pretrain": {"task": {"name": "synthetic_nodes"}}}},
            "split.labels": [0, 1],
        },
    }
    cells = expand(
        validate(StudySettings, {"name": "s", "question": "q", **values}), Path("o"), "d"
    )
    begins = {
        c.levels["split.labels"]: c.settings["init_from"] for c in cells if c.stage != "pretrain"
    }
    assert {labels: Path(folder).name for labels, folder in begins.items()} == {
        0: "network",
        1: "encoder",
    }
