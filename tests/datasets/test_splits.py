"""Splits divide patients, never cases, and grow by nesting."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.settings import load
from hilum.datasets.splits import Split, SplitSettings, as_nnunet, check_leakage, make_split
from hilum.datasets.store.case_store import VERSION, CaseStore


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Return 12 patients with two scans each: 0 and 1 test, 10 and 11 have no label."""
    return write_index(tmp_path, [row(p, s) for p in range(12) for s in "ab"])


def row(patient: int, scan: str) -> dict[str, object]:
    split = "test" if patient < 2 else "train"
    return {
        "id": f"{patient}{scan}",
        "patient": f"p{patient}",
        "split": split,
        "labelled": patient < 10 and scan == "a",
        "nodes": int(patient < 10 and scan == "a"),
    }


def write_index(folder: Path, rows: list[dict[str, object]]) -> CaseStore:
    about = {"version": VERSION, "modalities": ["ct"], "spacing": [1, 1, 1], "classes": 2}
    cases = [{"modalities": ["ct"], **row} for row in rows]
    write_json(folder / "store.json", about | {"fingerprint": "f", "cases": cases})
    return CaseStore(folder)


def patients(store: CaseStore, cases: tuple[str, ...]) -> set[str]:
    return {store.rows[case]["patient"] for case in cases}


@pytest.mark.parametrize("test", ["manifest", 0.25])
def test_parts_share_no_patient_and_labels_are_read_only_where_there_are_some(
    store: CaseStore, test: float
) -> None:
    split = make_split(store, SplitSettings(test=test, validation=2, labels=3))
    train, validation, held_out = (
        patients(store, part) for part in (split.train, split.validation, split.test)
    )
    assert not train & validation
    assert not (train | validation | patients(store, split.pool)) & held_out
    assert (len(train), len(validation)) == (3, 2)
    assert all(store.rows[case]["labelled"] for case in split.train + split.validation + split.test)


def test_the_manifest_names_the_test_patients_and_the_pool_is_everyone_else(
    store: CaseStore,
) -> None:
    split = make_split(store, SplitSettings(validation=2))
    assert split.test == ("0a", "1a")
    assert patients(store, split.pool) == {f"p{n}" for n in range(2, 12)}
    assert len(split.pool) == 20
    assert patients(store, split.train) | patients(store, split.validation) == {
        f"p{n}" for n in range(2, 10)
    }


def test_more_labels_add_patients_and_keep_the_others(store: CaseStore) -> None:
    nested = [set(make_split(store, SplitSettings(labels=n)).train) for n in range(1, 9)]
    assert all(small < large for small, large in pairwise(nested))


def test_a_draw_has_a_patient_with_nodes_and_is_else_as_it_would_be(tmp_path: Path) -> None:
    rows = [row(p, s) for p in range(12) for s in "ab"]
    everyone = write_index(tmp_path / "all", rows)
    for one in rows:
        one["nodes"] = int(one["id"] == "7a")
    rare = write_index(tmp_path / "rare", rows)
    changed = 0
    for draw in range(20):
        for labels in range(1, 9):
            settings = SplitSettings(labels=labels, draw=draw)
            usual, found = (make_split(s, settings).train for s in (everyone, rare))
            assert "7a" in found
            assert len(found) == labels
            if "7a" in usual:
                assert found == usual
            else:
                assert set(found) - {"7a"} < set(usual)
                changed += 1
    assert changed
    nested = [set(make_split(rare, SplitSettings(labels=n)).train) for n in range(1, 9)]
    assert all(small < large for small, large in pairwise(nested))


@pytest.mark.parametrize("seed", range(8))
def test_who_validates_has_nodes_if_training_can_spare_one(tmp_path: Path, seed: int) -> None:
    def drawn(having: set[int], **more: Any) -> tuple[set[str], set[str]]:
        rows = [row(p, s) for p in range(12) for s in "ab"]
        for one in rows:
            one["nodes"] = int(one["id"] in {f"{p}a" for p in having})
        found = write_index(tmp_path, rows)
        split = make_split(found, SplitSettings(**{"labels": 1, "seed": seed, **more}))
        return patients(found, split.train), patients(found, split.validation)

    for having in ({3, 7}, {2, 5, 9}):
        names = {f"p{p}" for p in having}
        for validation in (1, 2, 4):
            train, choose = drawn(having, validation=validation)
            assert train <= names
            assert choose & names
            assert len(choose) == validation
    assert drawn({4}, validation=1)[0] == {"p4"}, "the only one trains"
    assert drawn(set(), validation=2) != (set(), set())
    every = {f"p{p}" for p in range(2, 10)}
    assert drawn(set(range(12)), validation=7, labels=1)[1] < every
    plan = tmp_path / "labelling.csv"
    plan.write_text("rank,patient\n1,p6\n")
    train, choose = drawn({4}, validation=1, choose=plan)
    assert (train, choose) == ({"p6"}, {"p4"}), "who trains is named, so the other may choose"


def test_draws_differ_but_validation_and_test_stay(store: CaseStore) -> None:
    splits = [make_split(store, SplitSettings(validation=2, labels=2, draw=n)) for n in range(6)]
    assert len({split.train for split in splits}) > 2
    assert len({(split.validation, split.test, split.pool) for split in splits}) == 1


def test_the_same_settings_give_the_same_split_and_another_seed_another(store: CaseStore) -> None:
    settings = SplitSettings(test=0.25, labels=3)
    assert make_split(store, settings) == make_split(store, settings)
    seeds = {make_split(store, SplitSettings(test=0.25, labels=3, seed=n)) for n in range(4)}
    assert len(seeds) == 4


def test_a_split_survives_json(store: CaseStore) -> None:
    split = make_split(store, SplitSettings(validation=1, labels=2))
    assert Split.from_json(split.as_json()) == split


def test_too_few_labelled_patients_is_an_error_that_counts_them(store: CaseStore) -> None:
    with pytest.raises(DataError, match=r"9 training.*8 labelled"):
        make_split(store, SplitSettings(labels=9))
    with pytest.raises(DataError, match="validation"):
        make_split(store, SplitSettings(validation=9))


def test_a_patient_on_both_sides_is_leakage(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test and pool.*p3"):
        check_leakage(store, Split(("3a",), (), (), ("3b",)))
    mixed = write_index(tmp_path / "mixed", [row(0, "a"), row(0, "b") | {"split": "train"}])
    with pytest.raises(DataError, match="train and test"):
        make_split(mixed, SplitSettings())


@pytest.mark.parametrize(
    "bad",
    [
        *({"labels": -1}, {"validation": -1}, {"test": "some"}, {"lables": 3}),
        *({"test": number} for number in (-0.2, 5, float("nan"))),
    ],
)
def test_bad_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        load(SplitSettings, **bad)


def sited(folder: Path, sizes: dict[str, int], *, reverse: bool = False) -> CaseStore:
    """Return a store with so many labelled patients per site, two cases each."""
    rows = [
        {
            "id": f"{site}{n}{s}",
            "patient": f"{site}{n}",
            "site": site,
            "split": "",
            "labelled": True,
        }
        for site, count in sizes.items()
        for n in range(count)
        for s in "ab"
    ]
    folder.mkdir(exist_ok=True)
    return write_index(folder, rows[::-1] if reverse else rows)


@pytest.mark.parametrize("seed", range(5))
def test_folds_part_the_patients_and_balance_sites_to_within_one(tmp_path: Path, seed: int) -> None:
    sizes = {"x": 7, "y": 4, "z": 12}
    store = sited(tmp_path, sizes)
    folds = []
    for fold in range(4):
        settings = SplitSettings(test="fold", folds=4, fold=fold, seed=seed, validation=2)
        split = make_split(store, settings)
        held_out = patients(store, split.test)
        assert not held_out & patients(store, split.pool)
        folds.append(held_out)
    assert sorted(p for fold in folds for p in fold) == sorted(
        f"{site}{n}" for site, count in sizes.items() for n in range(count)
    )
    for site in sizes:
        counts = [sum(p.startswith(site) for p in fold) for fold in folds]
        assert max(counts) - min(counts) <= 1
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_a_site_that_is_left_out_is_in_nothing_else(tmp_path: Path) -> None:
    store = sited(tmp_path, {"x": 3, "y": 4})
    split = make_split(store, SplitSettings(test="site", site="y"))
    assert patients(store, split.test) == {f"y{n}" for n in range(4)}
    assert patients(store, split.pool) == {f"x{n}" for n in range(3)}


def test_a_patient_of_two_sites_never_trains_for_either(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "patient": "p", "site": "x", "split": "", "labelled": True},
        {"id": "2", "patient": "p", "site": "y", "split": "", "labelled": True},
        {"id": "3", "patient": "q", "site": "x", "split": "", "labelled": True},
    ]
    split = make_split(write_index(tmp_path, rows), SplitSettings(test="site", site="y"))
    assert (set(split.test), set(split.pool)) == ({"1", "2"}, {"3"})


@pytest.mark.parametrize(
    "settings",
    [
        {"test": 0.3, "labels": 3},
        {"test": "fold", "fold": 1, "labels": 2, "validation": 2},
        {"test": "site", "site": "x", "labels": 2, "balance_sites": True},
    ],
)
def test_the_order_of_the_rows_does_not_matter(tmp_path: Path, settings: dict) -> None:
    sizes = {"x": 5, "y": 6}
    one = make_split(sited(tmp_path / "1", sizes), SplitSettings(**settings))
    two = make_split(sited(tmp_path / "2", sizes, reverse=True), SplitSettings(**settings))
    assert one == two


def test_balanced_draws_take_the_sites_in_turn_and_stay_nested(tmp_path: Path) -> None:
    store = sited(tmp_path, {"x": 9, "y": 3, "z": 2})
    for draw in range(5):
        before: set[str] = set()
        for count in (1, 2, 3, 6, 9):
            settings = SplitSettings(test=0.0, labels=count, draw=draw, balance_sites=True)
            chosen = patients(store, make_split(store, settings).train)
            sites = [sum(p.startswith(site) for p in chosen) for site in "xyz"]
            assert len(chosen) == count
            assert before <= chosen
            if count in (3, 6):
                assert len(set(sites)) == 1
            before = chosen


def test_folds_are_those_of_nnunets_file(tmp_path: Path) -> None:
    store = sited(tmp_path, {"x": 6})
    folds = as_nnunet(store, SplitSettings(test="fold", folds=3))
    assert len(folds) == 3
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(store.ids)
    for fold in folds:
        assert not patients(store, tuple(fold["train"])) & patients(store, tuple(fold["val"]))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"test": "fold", "folds": 3, "fold": 3}, SettingsError, "must be below 3"),
        ({"test": "fold", "folds": 9}, DataError, "9 folds need as many labelled patients"),
        ({"test": "site"}, SettingsError, "choose from x, y"),
        ({"test": "site", "site": "w"}, SettingsError, "found w; choose from x, y"),
    ],
)
def test_impossible_folds_and_sites_are_one_clear_error(
    tmp_path: Path, settings: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_split(sited(tmp_path, {"x": 2, "y": 3}), SplitSettings(**settings))


def test_the_only_site_cannot_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="from another one, found all 3 are of 'x'"):
        make_split(sited(tmp_path, {"x": 3}), SplitSettings(test="site", site="x"))
    with pytest.raises(SettingsError, match="test=fold"):
        as_nnunet(sited(tmp_path, {"x": 3}), SplitSettings())
