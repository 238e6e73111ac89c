"""A plan says who trains: in its order, nobody who tests, nobody without a label."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import DataError
from hilum.core.settings import validate
from hilum.datasets.labelling import read_choice
from hilum.datasets.splits import SplitSettings, make_split
from hilum.datasets.store.case_store import CaseStore

from ..tiny_cohort import manifest, store  # noqa: F401


def plan(folder: Path, *patients: str) -> Path:
    file = folder / "labelling.csv"
    file.write_text("rank,patient\n" + "".join(f"{i},{p}\n" for i, p in enumerate(patients)))
    return file


@pytest.mark.parametrize(
    ("more", "train"),
    [
        ({}, {"case_0", "case_2", "case_3"}),
        ({"labels": 1}, {"case_3"}),
        ({"labels": 2, "draw": 5, "balance_sites": True}, {"case_3", "case_0"}),
        ({"labels": 2, "validation": 1}, {"case_3", "case_0"}),
    ],
)
def test_the_first_patients_of_the_plan_train(
    more: dict[str, object],
    train: set[str],
    store: CaseStore,  # noqa: F811
    tmp_path: Path,
) -> None:
    file = plan(tmp_path, "patient_3", "patient_0", "patient_2")
    split = make_split(store, validate(SplitSettings, {"choose": file, **more}))
    assert set(split.train) == train
    assert split.test == ("case_4", "case_5")
    assert split.validation == (("case_1",) if "validation" in more else ())


BAD = {
    "tests": (("patient_0", "patient_4"), "patient_4 tests"),
    "unknown": (("patient_0", "patient_33"), "did you mean 'patient_3'"),
    "twice": (("patient_0", "patient_0"), "patient_0 is twice"),
    "nobody": ((), "must name a patient"),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_plan_that_cannot_train_is_refused(bad: str, store: CaseStore, tmp_path: Path) -> None:  # noqa: F811
    names, message = BAD[bad]
    settings = validate(SplitSettings, {"choose": plan(tmp_path, *names)})
    with pytest.raises(DataError, match=message):
        make_split(store, settings)


def test_more_labels_than_the_plan_has_are_refused(store: CaseStore, tmp_path: Path) -> None:  # noqa: F811
    settings = validate(SplitSettings, {"choose": plan(tmp_path, "patient_1"), "labels": 2})
    with pytest.raises(DataError, match="2 training and 0 validation patients need labels"):
        make_split(store, settings)


def test_a_patient_without_a_label_is_named(store: CaseStore, tmp_path: Path) -> None:  # noqa: F811
    store = CaseStore(store.path)
    store.rows["case_1"] = store.rows["case_1"] | {"labelled": False}
    settings = validate(SplitSettings, {"choose": plan(tmp_path, "patient_1")})
    with pytest.raises(DataError, match=r"none for patient_1; .*hilum annotate take"):
        make_split(store, settings)


@pytest.mark.parametrize("text", [None, "who,why\na,b\n", b"\xff\xfe\x00"])
def test_what_is_no_plan_is_one_clear_error(text: str | bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "plan.csv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match="column patient"):
        read_choice(file)
