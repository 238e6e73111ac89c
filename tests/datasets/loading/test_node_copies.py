"""Nodes of other patients in training patches: whole, in tissue, never on a node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hilum.core.files import read_json, write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import AugmentationSettings, PairedAugmentation
from hilum.datasets.loading.node_copies import CopySettings
from hilum.datasets.store.case_store import VERSION, CaseStore, PreparedCase, write_case
from hilum.datasets.store.foreground import nodes_of
from hilum.datasets.store.index import index_row

from ...patch_sets import patch_set

SIDES: IntTriple = (18, 20, 22)
NODE = {
    "a": (slice(5, 8), slice(6, 9), slice(7, 12)),
    "b": (slice(11, 13), slice(3, 6), slice(4, 6)),
}
PATCH: IntTriple = (14, 14, 14)


def case(name: str, modalities: tuple[str, ...] = ("ct", "pet")) -> PreparedCase:
    """Return a patient of soft tissue with lung in one half, and a node of values of its own."""
    ct = np.full(SIDES, 40.0)
    ct[:, :, SIDES[2] // 2 + 3 :] = -800
    pet, label = np.ones(SIDES), np.zeros(SIDES, np.uint8)
    if name in NODE:
        mark = 10 + ord(name) - ord("a")
        ct[NODE[name]], pet[NODE[name]], label[NODE[name]] = 50 + mark, mark, 1
    regions = np.zeros(SIDES, np.uint8)
    regions[1:-1, 1:-1, 1:-1] = 1
    regions |= np.uint8(2 * (2 ** len(modalities) - 1))
    images = np.stack([{"ct": ct, "pet": pet}[m] for m in modalities]).astype(np.float16)
    grid = Grid.from_spacing(SIDES, (3, 2, 2))
    return PreparedCase(name, name, "", "", images, modalities, regions, label, grid, grid, {}, {})


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    rows = []
    for one in (case("a"), case("b"), case("c"), case("d", ("ct",))):
        assert one.label is not None
        write_case(tmp_path / one.id, one, *nodes_of(one.label, one.grid, one.id))
        rows.append(index_row(read_json(tmp_path / one.id / "case.json")))
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2]}
    write_json(tmp_path / "store.json", about | {"classes": 2, "fingerprint": "x", "cases": rows})
    return CaseStore(tmp_path)


def draws(*what: Any, **more: Any) -> Any:
    """Return a dataset whose items are known to have labels."""
    return patch_set(*what, **more)


def copies(**values: Any) -> CopySettings:
    return validate(CopySettings, {"p": 1.0, "margin_mm": 0.0} | values)


def test_a_node_comes_whole_with_both_scans_and_its_label(store: CaseStore) -> None:
    """Against the plain patch, voxel by voxel: only the pasted node differs."""
    plain = draws(store, ["c"], PATCH, 30, 0, ("ct", "pet"), foreground=0)
    many = draws(store, ["c", "a"], PATCH, 60, 0, ("ct", "pet"), foreground=0, copies=copies())
    assert not any((item["label"] > 0).any() for item in plain)
    seen = 0
    for item in many:
        if item["case"] != "c" or not (new := item["label"][0] > 0).any():
            continue
        seen += 1
        ct, pet = item["image"][0], item["image"][1]
        assert (ct[new] == 60).all()
        assert (pet[new] == 10).all()
        assert (pet[~new] == 1).all(), "without a margin nothing else comes along"
        if new.sum() == 45:
            assert (new.nonzero().amax(0) - new.nonzero().amin(0) + 1).tolist() == [3, 3, 5]
    assert seen > 10


def test_a_node_lies_in_tissue_and_never_on_a_node_or_beside_the_patient(store: CaseStore) -> None:
    many = draws(store, ["a", "b", "c"], SIDES, 90, 1, ("ct", "pet"), foreground=0, copies=copies())
    for item in many:
        ct, label, body = item["image"][0], item["label"][0], item["regions"][0] & 1
        own = {"a": 60, "b": 61}.get(item["case"])
        pasted = (label > 0) & (ct != own) if own else label > 0
        if not pasted.any():
            continue
        clean = store[item["case"]].read([0, 0, 0], SIDES, ("ct", "pet"))
        assert body[pasted].float().mean() >= 0.8
        before = torch.from_numpy(clean.image[0])[pasted]
        assert (before == 40).float().mean() >= 0.8, "mostly where soft tissue was"
        if own:
            assert (label > 0)[torch.from_numpy(clean.label == 1)].all(), "its own node stays"
            assert int((ct == own).sum()) == int((clean.label == 1).sum())


def test_surroundings_come_along_up_to_the_margin(store: CaseStore) -> None:
    near = draws(
        store, ["a", "c"], SIDES, 40, 2, ("ct", "pet"), foreground=0, copies=copies(margin_mm=4.0)
    )
    wider = 0
    for item in near:
        if item["case"] == "c":
            # Lung that is pasted beside a node shows that surroundings came along.
            wider += int((item["label"] > 0).any())
            assert int((item["label"] > 0).sum()) in (0, 45)
    assert wider > 5


@pytest.mark.parametrize(
    ("ids", "why"),
    [
        (["a"], "nobody else has nodes"),
        (["a", "c"], "c has none to give"),
        (["d", "c"], "no donor"),
    ],
)
def test_a_patient_gets_no_node_of_its_own(store: CaseStore, ids: list[str], why: str) -> None:
    many = draws(store, ids, SIDES, 12, 3, ("ct", "pet"), foreground=0, copies=copies())
    for item in many:
        if item["case"] == "a":
            assert int((item["label"] > 0).sum()) == 45, why


def test_a_donor_has_what_the_case_has(store: CaseStore) -> None:
    """A case with CT alone takes the CT of a node; one with PET takes nothing from CT alone."""
    some = draws(store, ["d", "a"], SIDES, 30, 4, ("ct", "pet"), foreground=0, copies=copies())
    found = [item for item in some if item["case"] == "d" and (item["label"] > 0).any()]
    assert found
    assert all((item["image"][0][item["label"][0] > 0] == 60).all() for item in found)
    assert all((item["image"][1] == 0).all() for item in found), "its absent PET stays empty"


def test_without_a_chance_nothing_changes_and_what_is_drawn_belongs_to_the_item(
    store: CaseStore,
) -> None:
    ids, names = ["a", "b", "c"], ("ct", "pet")
    plain = draws(store, ids, PATCH, 9, 5, names)
    never = draws(store, ids, PATCH, 9, 5, names, copies=copies(p=0.0))
    always = draws(store, ids, PATCH, 9, 5, names, copies=copies())
    again = draws(store, ids, PATCH, 9, 5, names, copies=copies())
    differ = 0
    for i in range(9):
        assert torch.equal(plain[i]["image"], never[i]["image"])
        assert torch.equal(always[i]["image"], again[i]["image"])
        differ += not torch.equal(plain[i]["image"], always[i]["image"])
    assert differ > 4


def test_a_patch_that_is_augmented_while_it_is_read_gets_the_same_node(store: CaseStore) -> None:
    ids, names = ["a", "b", "c"], ("ct", "pet")
    change = PairedAugmentation(names, PATCH, store.spacing, AugmentationSettings.none())
    early = draws(store, ids, PATCH, 9, 5, names, augmentation=change, copies=copies(margin_mm=3.0))
    plain = draws(store, ids, PATCH, 9, 5, names, copies=copies(margin_mm=3.0))
    for i in range(9):
        assert torch.equal(early[i]["label"], plain[i]["label"])
