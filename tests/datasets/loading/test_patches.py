"""Patches are a pure function of seed and number, and every node is seen as often as any other."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from hilum.core.errors import DataError, SettingsError, UserError
from hilum.core.files import write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.datasets.batch import Sample, collate
from hilum.datasets.store.case_store import (
    VERSION,
    CaseStore,
    PreparedCase,
    StoredCase,
    write_case,
)
from hilum.datasets.store.foreground import nodes_of
from hilum.datasets.store.index import index_row

from ...patch_sets import patch_set

SIDES: IntTriple = (11, 12, 14)
BODY = (slice(2, 10), slice(1, 11), slice(3, 12))


def prepared(name: str, modalities: tuple[str, ...], label: np.ndarray | None) -> PreparedCase:
    """Return a case whose CT holds the number of each voxel, exact in float16."""
    number = np.arange(np.prod(SIDES)).reshape(SIDES)
    regions = np.zeros(SIDES, np.uint8)
    regions[BODY] = 1
    regions |= np.uint8(2 * (2 ** len(modalities) - 1))
    grid = Grid.from_spacing(SIDES, (3, 2, 1))
    return PreparedCase(
        id=name,
        patient=name,
        site="",
        split="",
        images=np.stack([number] * len(modalities)).astype(np.float16),
        modalities=modalities,
        regions=regions,
        label=label,
        grid=grid,
        source_grid=grid,
        factors=dict.fromkeys(modalities, 1.0),
        inputs={},
    )


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    """Return a large and a tiny node in one case, none in another, and one without label."""
    nodes = np.zeros(SIDES, np.uint8)
    nodes[2:6, 2:7, 3:8] = 1
    nodes[8, 9, 11] = 1
    cases = [
        prepared("nodes", ("ct", "pet"), nodes),
        prepared("healthy", ("ct", "pet"), np.zeros(SIDES, np.uint8)),
        prepared("pet only", ("pet",), None),
    ]
    return written(tmp_path, cases)


def written(folder: Path, cases: list[PreparedCase]) -> CaseStore:
    rows = []
    for case in cases:
        label = np.zeros(SIDES, np.uint8) if case.label is None else case.label
        write_case(folder / case.id, case, *nodes_of(label, case.grid, case.id))
        rows.append(index_row(StoredCase(folder / case.id).about))
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 1], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": "f", "cases": rows})
    return CaseStore(folder)


def same(one: Sample, other: Sample) -> None:
    assert one.keys() == other.keys()
    assert (one["case"], one["seed"]) == (other["case"], other["seed"])
    assert_close(
        [v for v in one.values() if isinstance(v, torch.Tensor)],
        [v for v in other.values() if isinstance(v, torch.Tensor)],
    )


def test_an_item_depends_on_the_seed_and_its_number_alone(store: CaseStore) -> None:
    ids = store.ids
    first = patch_set(store, ids, (5, 4, 3), 20, seed=7)
    again = pickle.loads(pickle.dumps(patch_set(store, ids, (5, 4, 3), 99, seed=7)))
    for index in (19, 3, 0, 11):
        same(first[index], again[index])
    seeds = {
        patch_set(store, ids, (5, 4, 3), 20, seed=s)[i]["seed"] for s in (7, 8) for i in (0, 1)
    }
    assert len(seeds) == 4


def test_a_patch_is_cut_from_one_place_of_all_arrays(store: CaseStore) -> None:
    sides = (4, 3, 5)
    patches = patch_set(store, ["nodes"], sides, 30, seed=0)
    label, regions = store["nodes"].label, store["nodes"].regions
    assert label is not None
    number = np.arange(np.prod(SIDES)).reshape(SIDES)
    for index in range(30):
        item = patches[index]
        assert item["image"].dtype == torch.float16
        corner = np.unravel_index(int(item["image"][0, 0, 0, 0]), SIDES)
        box = tuple(slice(int(c), int(c) + n) for c, n in zip(corner, sides, strict=True))
        for channel in (0, 1):
            assert_close(item["image"][channel].numpy(), number[box].astype(np.float16))
        assert "label" in item
        assert_close(item["label"][0].numpy(), np.array(label[box]))
        assert_close(item["regions"][0].numpy(), np.array(regions[box]))


@pytest.mark.parametrize("jitter", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("inner", [(1, 2, 3), (4, 4, 4), (5, 7, 6)])
def test_an_item_on_a_node_shows_it_in_its_inner_part(
    store: CaseStore, inner: IntTriple, jitter: float
) -> None:
    patches = patch_set(
        store, store.ids, (8, 8, 8), 60, 1, foreground=1.0, inner=inner, jitter=jitter
    )
    for index in range(60):
        item = patches[index]
        part = tuple(slice((8 - n) // 2, (8 - n) // 2 + n) for n in inner)
        assert "label" in item
        assert item["label"][0][part].any(), f"item {index}"


def test_a_tiny_node_is_drawn_as_often_as_a_large_one(store: CaseStore) -> None:
    patches = patch_set(store, store.ids, (1, 1, 1), 400, 2, foreground=1.0)
    tiny = np.ravel_multi_index((8, 9, 11), SIDES)
    count = sum(int(patches[i]["image"][0].item()) == tiny for i in range(400))
    # 400 fair coins: a standard deviation of 10.
    assert abs(count - 200) < 40


def test_the_share_on_nodes_is_even_over_the_items(store: CaseStore) -> None:
    patches = patch_set(store, ["nodes", "healthy"], (3, 3, 3), 400, 5, foreground=0.25)
    kinds = [patches._case_of(index)[1] for index in range(400)]
    assert Counter(kinds) == {"node": 100, "body": 300}
    assert all(kinds[i : i + 4].count("node") == 1 for i in range(0, 400, 4))


def test_a_share_of_the_items_lies_on_uptake_outside_of_the_label(tmp_path: Path) -> None:
    label = np.zeros(SIDES, np.uint8)
    label[2:4, 2:7, 3:8] = 1
    case = prepared("hot", ("ct", "pet"), label)
    case.images[1] = 0
    case.images[1, 2:7, 2:7, 3:8] = 9
    case.images[1, 8:10, 8:11, 3:12] = 4
    case.images[1, 9, 2, 3] = 30  # one voxel is noise
    store = written(tmp_path, [case, prepared("cold", ("ct",), np.zeros(SIDES, np.uint8))])
    patches = patch_set(
        store, store.ids, (3, 3, 3), 200, 5, ("ct", "pet"), foreground=0.25, hard=0.5, jitter=0
    )
    kinds = [patches._case_of(index)[1] for index in range(200)]
    assert Counter(kinds) == {"node": 50, "uptake": 100, "body": 50}
    middle = []
    for index in np.flatnonzero(np.array(kinds) == "uptake"):
        item = patches[int(index)]
        assert item["case"] == "hot"
        number = int(item["image"][0][1, 1, 1])
        middle.append(np.unravel_index(number, SIDES))
    places = np.array(middle)
    # The hot voxels beside the node, and the larger spot: each half of the time.
    layer = (places[:, 0] >= 4) & (places[:, 0] < 7)
    assert (places[~layer, 0] >= 8).all()
    assert 30 < layer.sum() < 70
    unlabelled = patch_set(store, store.ids, (3, 3, 3), 9, 5, ("ct",), hard=0.5, labelled=False)
    assert {unlabelled._case_of(index)[1] for index in range(9)} == {"body"}


def test_cases_come_in_rounds(store: CaseStore) -> None:
    patches = patch_set(store, store.ids, (2, 2, 2), 30, 3, foreground=0.0)
    names = [patches[index]["case"] for index in range(30)]
    assert Counter(names) == dict.fromkeys(store.ids, 10)
    assert len({tuple(names[i : i + 3]) for i in range(0, 30, 3)}) > 2, "rounds are shuffled"


def test_cases_without_nodes_serve_as_background(store: CaseStore) -> None:
    patches = patch_set(store, store.ids, (3, 3, 3), 60, 4)
    for index in range(60):
        if patches._case_of(index)[1] == "node":
            assert patches[index]["case"] == "nodes"
    alone = patch_set(store, ["healthy"], (3, 3, 3), 4, 4, foreground=1.0)
    assert {alone[i]["case"] for i in range(4)} == {"healthy"}


def test_background_is_centred_in_the_body(store: CaseStore) -> None:
    patches = patch_set(store, ["healthy"], (1, 1, 1), 200, 0, foreground=0.0)
    places = np.array([np.unravel_index(int(patches[i]["image"][0]), SIDES) for i in range(200)])
    assert all(int(patches[i]["regions"]) & 1 for i in range(200))
    assert places.min(0).tolist() == [s.start for s in BODY]
    assert places.max(0).tolist() == [s.stop - 1 for s in BODY]


def test_a_patch_larger_than_the_case_is_centred_and_padded(store: CaseStore) -> None:
    item = patch_set(store, ["nodes"], (15, 12, 20), 1, 0)[0]
    inside = (slice(2, 13), slice(0, 12), slice(3, 17))
    number = torch.arange(int(np.prod(SIDES))).reshape(SIDES).half()
    assert_close(item["image"][0][inside], number)
    for channel, fill in enumerate((-1024, 0)):
        outside = item["image"][channel].clone()
        outside[inside] = fill
        assert (outside == fill).all()
    beyond = item["regions"][0].clone()
    beyond[inside] = 0
    assert not beyond.any()


def test_a_patch_stays_inside_where_it_fits(store: CaseStore) -> None:
    patches = patch_set(store, store.ids, (10, 11, 12), 40, 0)
    for index in range(40):
        assert (patches[index]["regions"] & 4).all()


def test_unlabelled_patches_use_nothing_that_came_from_labels(store: CaseStore) -> None:
    blind = patch_set(store, store.ids, (3, 3, 3), 20, 0, foreground=1.0, labelled=False)
    plain = patch_set(store, store.ids, (3, 3, 3), 20, 0, foreground=0.0)
    for index in range(20):
        item, other = blind[index], plain[index]
        assert "label" not in item
        assert_close(item["image"], other["image"])


def test_a_case_without_label_is_unknown_among_labelled_ones(store: CaseStore) -> None:
    patches = patch_set(store, store.ids, (3, 3, 3), 30, 0, foreground=0.0)
    for index in range(30):
        item = patches[index]
        assert "label" in item
        if item["case"] == "pet only":
            assert (item["label"] == 255).all()
            assert item["available"].tolist() == [False, True]
            assert (item["image"][0] == -1024).all()
        else:
            assert not (item["label"] == 255).any()


def test_collate_makes_the_batch_of_the_data_model(store: CaseStore) -> None:
    patches = patch_set(store, store.ids, (3, 4, 5), 4, 0, ("pet", "ct"))
    batch = collate([patches[i] for i in range(4)])
    assert "label" in batch
    assert batch["image"].shape == (4, 2, 3, 4, 5)
    assert batch["image"].dtype == torch.float32
    assert batch["available"].shape == (4, 2)
    assert batch["available"].dtype == torch.bool
    for name in ("regions", "label"):
        assert batch[name].shape == (4, 1, 3, 4, 5)
        assert batch[name].dtype == torch.uint8
    assert batch["seed"].tolist() == [patches[i]["seed"] for i in range(4)]
    assert batch["case"] == [patches[i]["case"] for i in range(4)]
    assert_close(batch["image"][2], patches[2]["image"].float())
    half = collate([patches[i] for i in range(4)], torch.float16)
    assert half["image"].dtype == torch.float16
    blind = patch_set(store, store.ids, (3, 4, 5), 2, 0, labelled=False)
    assert "label" not in collate([blind[0], blind[1]])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"shape": (4, 0, 4)}, SettingsError, "three sides"),
        ({"inner": (4, 4, 5)}, SettingsError, "fit into the box"),
        ({"foreground": 1.5}, SettingsError, "foreground must be"),
        ({"jitter": 0.6}, SettingsError, "jitter within"),
        ({"length": -1}, SettingsError, "length"),
        ({"modalities": ("ct", "pett")}, SettingsError, "did you mean 'pet'"),
        ({"ids": []}, DataError, "at least one case"),
        ({"ids": ["pet only"]}, DataError, "labelled case"),
        ({"ids": ["nodes", "pet only"], "modalities": ("ct",)}, DataError, "case pet only"),
        ({"ids": ["nobody"]}, UserError, "case nobody"),
    ],
)
def test_a_bad_setting_is_one_clear_error(
    store: CaseStore, change: dict, error: type[UserError], message: str
) -> None:
    given = {"ids": ["nodes"], "shape": (4, 4, 4), "length": 3, "seed": 0} | change
    with pytest.raises(error, match=message):
        patch_set(store, **given)


@pytest.mark.parametrize("file", ["images.npy", "foreground.npz"])
def test_a_damaged_file_names_the_case(store: CaseStore, file: str) -> None:
    patches = patch_set(store, ["nodes"], (3, 3, 3), 3, 0, foreground=1.0)
    (store.path / "nodes" / file).write_bytes(b"damaged")
    with pytest.raises(UserError, match="case nodes"):
        patches[0]
