"""Ids are safe and free of collisions, roots are found or named, words of a layout are mapped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.datasets.manifest import check_id
from hilum.datasets.source import (
    Imported,
    LeftOut,
    Source,
    collect,
    find_root,
    safe_ids,
    scans_in,
    volumes_of,
)

NAMES = [
    "PETCT Ganzkörper  primär mit KM",
    "PETCT_Ganzkorper_primar_mit_KM",
    "1.2.276.0.7230010.3.1.2." + "8323329." * 20 + "1",
    "1.2.276.0.7230010.3.1.2." + "8323329." * 20 + "2",
    *("a/b", "a:b", "A_B", "..", "日本", "con"),
]


def test_ids_are_safe_names_of_folders_and_never_coincide() -> None:
    ids = safe_ids(NAMES)
    assert list(ids) == NAMES
    assert len({key.casefold() for key in ids.values()}) == len(NAMES)
    for key in ids.values():
        assert len(check_id(key)) <= 100
        assert key.isascii()
        assert " " not in key


def test_an_id_does_not_depend_on_the_other_cases_unless_they_coincide() -> None:
    assert safe_ids(["x y"])["x y"] == "x_y"
    assert safe_ids(reversed(NAMES)) == dict(reversed(safe_ids(NAMES).items()))


def test_one_bad_case_is_left_out_and_a_changed_name_is_noted() -> None:
    def make(case: str, item: int) -> Case:
        if item < 0:
            raise DataError("items must be positive", case=case)
        return Case(case, case)

    found = collect({"a b": 1, "c": -1}, make)
    assert [case.id for case in found.cases] == ["a_b"]
    assert found.left_out == [LeftOut("c", "case c: items must be positive")]
    assert found.renamed == {"a_b": "a b"}


def test_nothing_but_bad_cases_is_an_error_with_the_first_reason() -> None:
    with pytest.raises(DataError, match="2 bad ones; the first, a: no scan"):
        Imported(left_out=[LeftOut("a", "no scan"), LeftOut("b", "")]).raise_if_empty("x", Path())
    with pytest.raises(DataError, match="must hold the thing, found none"):
        Imported().raise_if_empty("the thing", Path())


def fits(path: Path) -> bool:
    return (path / "mark").exists()


def test_a_root_one_level_too_high_is_taken(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mark").touch()
    assert find_root(tmp_path / "in", fits, "a mark") == tmp_path / "in"
    assert find_root(tmp_path, fits, "a mark") == tmp_path / "in"


@pytest.mark.parametrize("where", ["in/deep", ".", "two"])
def test_another_wrong_root_is_an_error_with_the_nearest_guess(tmp_path: Path, where: str) -> None:
    for name in ("in", "two/a", "two/b", "far/away"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "deep").mkdir()
    for name in {"in/deep": ["in"], ".": ["far/away"], "two": ["two/a", "two/b"]}[where]:
        (tmp_path / name / "mark").touch()
    guess = {"in/deep": "in", ".": "far/away", "two": "two/a"}[where]
    with pytest.raises(DataError, match=f"must hold a mark, found .*; try {tmp_path / guess}$"):
        find_root(tmp_path / where, fits, "a mark")


def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        find_root(tmp_path / "none", fits, "a mark")


def test_the_users_words_come_before_the_layouts(tmp_path: Path) -> None:
    source = Source(tmp_path, tmp_path, {"CT": "ct_late", "ctres": ""})
    words = source.words({"ctres": "ct", "seg": "label"})
    files = {name: tmp_path / f"{name}.nii" for name in ("ct", "ctres", "seg", "other")}
    assert volumes_of(files, words, "a") == ({"ct_late": tmp_path / "ct.nii"}, tmp_path / "seg.nii")


def test_two_files_for_one_modality_and_none_at_all_are_errors(tmp_path: Path) -> None:
    files = {"ct": tmp_path / "ct.nii", "ctres": tmp_path / "ctres.nii"}
    with pytest.raises(DataError, match=r"case a: .*one file for ct, found ct\.nii and ctres"):
        volumes_of(files, {"ct": "ct", "ctres": "ct"}, "a")
    with pytest.raises(DataError, match="case a: a case must have a scan, found ct, ctres"):
        volumes_of(files, {"ct": "label"}, "a")
    (tmp_path / "a.nii").touch()
    (tmp_path / "A.nii.gz").touch()
    with pytest.raises(DataError, match=r"one file for a, found A\.nii\.gz and a\.nii"):
        scans_in(tmp_path)
