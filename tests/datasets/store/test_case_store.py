"""A store gives boxes of its cases in any order of modalities, also beyond their edges."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from hilum.core.errors import StoreError
from hilum.core.files import write_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.modality import modality
from hilum.datasets.store.case_store import (
    VERSION,
    CaseStore,
    PreparedCase,
    StoredCase,
    write_case,
)
from hilum.datasets.store.foreground import nodes_of

SHAPE: IntTriple = (5, 6, 7)


def prepared(id: str, names: tuple[str, ...], labelled: bool = True) -> PreparedCase:  # noqa: A002
    generator = np.random.default_rng(len(id))
    label = np.zeros(SHAPE, np.uint8)
    label[1:3, 2, 2:4] = 1
    label[4, 5, 6] = 2
    grid = Grid.from_spacing(SHAPE, (3, 2, 1))
    return PreparedCase(
        id=id,
        patient=f"p-{id}",
        site="here",
        split="train",
        images=generator.normal(0, 50, (len(names), *SHAPE)).astype(np.float16),
        modalities=names,
        regions=generator.integers(0, 2 ** (1 + len(names)), SHAPE).astype(np.uint8),
        label=label if labelled else None,
        grid=grid,
        source_grid=grid,
        factors=dict.fromkeys(names, 1.0),
        inputs={},
    )


def write_store(folder: Path, cases: Sequence[PreparedCase]) -> CaseStore:
    """Write a store by hand, as docs/data-model.md describes it."""
    rows = []
    for case in cases:
        empty = np.zeros(SHAPE, np.uint8)
        label = empty if case.label is None else case.label
        write_case(folder / case.id, case, *nodes_of(label, case.grid, case.id))
        row = {"id": case.id, "patient": case.patient, "site": case.site, "split": case.split}
        row |= {"modalities": case.modalities, "labelled": case.label is not None, "shape": SHAPE}
        rows.append(row)
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 1]}
    about |= {"classes": 3, "fingerprint": "f", "cases": rows}
    write_json(folder / "store.json", about)
    return CaseStore(folder)


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    cases = [prepared("both", ("ct", "pet")), prepared("pet only", ("pet",), labelled=False)]
    return write_store(tmp_path / "störe é", cases)


def read_slowly(
    case: StoredCase, start: IntTriple, shape: IntTriple, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill the box voxel by voxel."""
    image = np.stack([np.full(shape, modality(name).fill, np.float16) for name in names])
    regions, label = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for index in np.ndindex(*shape):
        place = tuple(i + s for i, s in zip(index, start, strict=True))
        if any(p < 0 or p >= n for p, n in zip(place, SHAPE, strict=True)):
            continue
        regions[index] = case.regions[place] & 1
        label[index] = 0 if case.label is None else case.label[place]
        for channel, name in enumerate(names):
            if name in case.modalities:
                own = case.modalities.index(name)
                image[(channel, *index)] = case.images[(own, *place)]
                regions[index] |= (int(case.regions[place]) >> (1 + own) & 1) << (1 + channel)
    return image, regions, label


@pytest.mark.parametrize("start", [(0, 0, 0), (1, 2, 3), (-2, 4, -1), (3, -3, 5), (9, 9, 9)])
@pytest.mark.parametrize("names", [("ct", "pet"), ("pet", "ct"), ("pet",), ("mr", "pet", "ct")])
@pytest.mark.parametrize("id", ["both", "pet only"])
def test_a_patch_equals_one_filled_voxel_by_voxel(
    store: CaseStore,
    id: str,  # noqa: A002
    names: tuple[str, ...],
    start: IntTriple,
) -> None:
    case = store[id]
    patch = case.read(start, (4, 3, 2), names)
    image, regions, label = read_slowly(case, start, (4, 3, 2), names)
    assert patch.image.dtype == np.float16
    assert_array_equal(patch.image, image)
    assert_array_equal(patch.regions, regions)
    assert_array_equal(patch.available, [name in case.modalities for name in names])
    if case.labelled:
        assert_array_equal(patch.label, label)
    else:
        assert patch.label is None


def test_a_patch_can_be_changed_without_touching_the_store(store: CaseStore) -> None:
    patch = store["both"].read((0, 0, 0), SHAPE, ("ct", "pet"))
    before = np.array(store["both"].images)
    patch.image[:] = 0
    patch.regions[:] = 0
    assert_array_equal(store["both"].images, before)


def test_a_store_knows_its_cases_and_arrays_stay_on_disk(store: CaseStore) -> None:
    assert store.ids == ["both", "pet only"]
    assert len(store) == 2
    assert (store.modalities, store.spacing, store.classes) == (("ct", "pet"), (3, 2, 1), 3)
    case = store["both"]
    assert (case.patient, case.site, case.split, case.labelled) == ("p-both", "here", "train", True)
    assert isinstance(case.images, np.memmap)
    assert store["both"] is case


def test_foreground_voxels_lie_on_their_node(store: CaseStore) -> None:
    case = store["both"]
    points, node, value = case.foreground
    assert (points.dtype, node.dtype, value.dtype) == (np.int16, np.int32, np.uint8)
    assert case.label is not None
    assert_array_equal(case.label[tuple(points.T)], value)
    assert len(points) == 5
    for voxel, number in zip(points, node, strict=True):
        low, high = case.nodes[number]["box"]
        assert (voxel >= low).all()
        assert (voxel < high).all()


def test_an_unlabelled_case_has_no_nodes(store: CaseStore) -> None:
    case = store["pet only"]
    assert case.label is None
    assert len(case.foreground.points) == len(case.nodes) == 0


def test_a_pickled_store_is_its_path(store: CaseStore) -> None:
    _ = store["both"].images
    text = pickle.dumps(store)
    assert len(text) < 500
    assert pickle.loads(text).ids == store.ids


def test_bad_stores_say_what_to_do(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="hilum prepare"):
        CaseStore(tmp_path)
    with pytest.raises(StoreError, match="nobody"):
        store["nobody"]
    images = store.path / "pet only" / "images.npy"
    images.write_bytes(images.read_bytes()[:-40])
    with pytest.raises(StoreError, match=r"case pet only.*images\.npy.*hilum prepare"):
        store["pet only"].read((0, 0, 0), (2, 2, 2), ("pet",))
    file = store.path / "store.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"version": 99}))
    with pytest.raises(StoreError, match=r"version.*found 99.*hilum prepare"):
        CaseStore(store.path)
