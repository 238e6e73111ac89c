"""Several stores as one pool: patients, leaks, spacing, classes, and patches by weight."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import DataError, SettingsError, StoreError
from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.loading.patches import PatchDataset
from hilum.datasets.loading.settings import PatchSettings
from hilum.datasets.loading.sources import check_weights
from hilum.datasets.splits import SplitSettings, make_split
from hilum.datasets.store.case_store import VERSION, CaseStore, PreparedCase, write_case
from hilum.datasets.store.foreground import nodes_of
from hilum.datasets.store.index import index_row
from hilum.datasets.store.recipe import differences, preparation_of

SIDES = (8, 8, 8)


def made(folder: Path, patients: dict[str, str], **about: Any) -> Path:
    """Write a store whose cases `case_0` and so on hold one number each, the patient's scan."""
    rows, grid = [], Grid.from_spacing(SIDES, (2, 2, 2))
    for number, (patient, split) in enumerate(patients.items()):
        label = np.zeros(SIDES, np.uint8)
        label[4, 4, 4] = 1
        case = PreparedCase(
            id=f"case_{number}",
            patient=patient,
            site="",
            split=split,
            images=np.full((1, *SIDES), number, np.float16),
            modalities=("ct",),
            regions=np.full(SIDES, 3, np.uint8),
            label=label,
            grid=grid,
            source_grid=grid,
            factors={"ct": 1.0},
            inputs={},
            scans={"ct": about.get("scan", {}).get(patient, f"{folder.name} {patient}")},
        )
        write_case(folder / case.id, case, *nodes_of(label, grid, case.id))
        rows.append(index_row(json.loads((folder / case.id / "case.json").read_text())))
    index = {"version": VERSION, "modalities": ["ct"], "spacing": [2, 2, 2], "classes": 2}
    index |= {"fingerprint": folder.name, "cases": rows}
    write_json(folder / "store.json", index | about.get("index", {}))
    write_json(folder / "prepare.json", {"version": VERSION, "margin": about.get("margin", 1)})
    return folder


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    a = made(tmp_path / "a", {"p0": "train", "p1": "train", "p2": "train"})
    b = made(tmp_path / "b", {"q0": "test", "p1": ""}, margin=2)
    return {"lung": a, "neck": b}


def test_cases_of_both_are_there_under_names_of_their_own(places: dict[str, Path]) -> None:
    store = CaseStore(places)
    assert store.ids == [
        "lung__case_0", "lung__case_1", "lung__case_2", "neck__case_0", "neck__case_1"
    ]  # fmt: skip
    assert store["neck__case_1"].id == "neck__case_1"
    assert store["neck__case_1"].patient == "p1"
    assert store["lung__case_2"].folder == places["lung"] / "case_2"
    assert pickle.loads(pickle.dumps(store)).ids == store.ids
    assert preparation_of(store) == {"margin": 1, "modalities": ("ct",)}
    assert differences(store) == [
        "margin of prepare is 1 in lung and 2 in neck: a network may learn to tell the stores "
        "apart by it"
    ]
    alone = CaseStore(places["lung"]).fingerprint
    assert alone != store.fingerprint != CaseStore(dict(reversed(places.items()))).fingerprint


def test_a_patient_of_both_is_one_patient(places: dict[str, Path]) -> None:
    split = make_split(CaseStore(places), validate(SplitSettings, {"test": "manifest"}))
    assert split.test == ("neck__case_0",)
    assert set(split.pool) == {"lung__case_0", "lung__case_1", "lung__case_2", "neck__case_1"}
    settings = {"test": 0.25, "seed": 3}
    split = make_split(CaseStore(places), validate(SplitSettings, settings))
    both = {"lung__case_1", "neck__case_1"}
    assert both <= set(split.test) or not both & set(split.test)


def test_a_scan_under_two_names_is_no_test(places: dict[str, Path], tmp_path: Path) -> None:
    known = {"x9": "a p0"}
    places["again"] = made(tmp_path / "c", {"x9": "test"}, scan=known)
    with pytest.raises(DataError, match=r"lung__case_0.*the same scan in again__case_0"):
        make_split(CaseStore(places), validate(SplitSettings, {}))
    leave = validate(SplitSettings, {"leave_out": ["lung__case_0"]})
    assert make_split(CaseStore(places), leave).left_out == ("lung__case_0",)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"spacing": [2, 2, 3]}, r"one spacing.*\[2,2,3\] mm in odd, \[2,2,2\] mm in lung"),
        ({"classes": 3}, r"same classes.*found 1 in lung, 2 in another.*annotated"),
    ],
)
def test_stores_that_do_not_go_together(
    places: dict[str, Path], tmp_path: Path, index: dict[str, Any], message: str
) -> None:
    places["odd"] = made(tmp_path / "odd", {"z": "train"}, index=index)
    with pytest.raises(StoreError, match=message) as caught:
        CaseStore(places)
    assert "\n" not in str(caught.value)


def test_patches_come_by_weight_and_from_every_case_alike(places: dict[str, Path]) -> None:
    store = CaseStore(places)
    settings = PatchSettings((4, 4, 4), foreground=0.5, weights={"lung": 1, "neck": 3})
    check_weights(store, settings.weights)
    patches = PatchDataset(store, store.ids, settings, 240, 0)
    drawn = Counter(patches[index]["case"] for index in range(240))
    assert sum(drawn[name] for name in store.ids if name.startswith("neck")) == 180
    assert {drawn[name] for name in store.ids if name.startswith("lung")} == {20}
    assert {drawn[name] for name in store.ids if name.startswith("neck")} == {90}
    even = PatchDataset(store, store.ids, PatchSettings((4, 4, 4)), 50, 0)
    assert set(Counter(even[index]["case"] for index in range(50)).values()) == {10}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"lung": 1, "nek": 2}, "weights.nek must name a store of the pool, did you mean 'neck'"),
        ({"lung": 1}, "every store of the pool needs a weight, or none, found none for neck"),
        ({"lung": 1, "neck": 0}, "weights.neck must be above 0"),
    ],
)
def test_wrong_weights_are_one_line(
    places: dict[str, Path], weights: dict[str, float], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        check_weights(CaseStore(places), weights)
    with pytest.raises(SettingsError, match="one store without a name"):
        check_weights(CaseStore(places["lung"]), {"a": 1.0})


def test_what_is_left_out_is_in_no_part_and_noted(places: dict[str, Path]) -> None:
    store = CaseStore(places["lung"])
    split = make_split(store, validate(SplitSettings, {"leave_out": ["case_1"], "test": 0.5}))
    assert split.as_json()["left_out"] == ["case_1"]
    parts = {*split.pool, *split.train, *split.validation, *split.test}
    assert parts == {"case_0", "case_2"}
    with pytest.raises(SettingsError, match="found 'case_9', did you mean 'case_"):
        make_split(store, validate(SplitSettings, {"leave_out": ["case_9"]}))
    with pytest.raises(SettingsError, match="leave some case"):
        make_split(store, validate(SplitSettings, {"leave_out": store.ids}))
