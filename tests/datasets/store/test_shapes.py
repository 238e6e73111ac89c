"""A store whose files are of other types, sides or values is one clear error when it is opened."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hilum.core.errors import StoreError, UserError
from hilum.datasets.store.case_store import CaseStore

from .test_case_store import SHAPE, store

__all__ = ["store"]

About = dict[str, Any]
Spoil = Callable[[About], object]

STORE: dict[str, tuple[Spoil, str]] = {
    "no cases": (lambda a: a.pop("cases"), "cases: field required"),
    "cases by name": (lambda a: a.update(cases={}), "cases: input should be a valid list"),
    "a row that is a name": (lambda a: a["cases"].append("x"), "cases.2: "),
    "two spacings": (lambda a: a.update(spacing=[1, 1]), "spacing: "),
    "no spacing": (lambda a: a.update(spacing=[0, 1, 1]), "spacing.0: input should be greater"),
    "a spacing in words": (lambda a: a.update(spacing=["1", 1, 1]), "spacing.0: "),
    "an infinite spacing": (lambda a: a.update(spacing=[float("inf"), 1, 1]), "spacing.0: "),
    "modalities as a word": (lambda a: a.update(modalities="ct"), "modalities: "),
    "classes as a word": (lambda a: a.update(classes="3"), "classes: "),
    "too many classes": (lambda a: a.update(classes=999), "classes: "),
    "a fingerprint of numbers": (lambda a: a.update(fingerprint=1), "fingerprint: "),
    "a case elsewhere": (lambda a: a["cases"][0].update(id="../x"), "cases.0.id: "),
    "a hidden case": (lambda a: a["cases"][0].update(id=".."), "cases.0.id: "),
    "a patient of numbers": (lambda a: a["cases"][0].update(patient=7), "cases.0.patient: "),
    "labelled maybe": (lambda a: a["cases"][0].update(labelled="no"), "cases.0.labelled: "),
    "a case twice": (lambda a: a["cases"].append(a["cases"][0]), "each case once"),
    "another version": (lambda a: a.update(version="1"), "must have version 1, found 1"),
}
CASE: dict[str, tuple[Spoil, str]] = {
    "no patient": (lambda a: a.pop("patient"), "patient: field required"),
    "nodes by number": (lambda a: a.update(nodes=2), "nodes: "),
    "a node of class 0": (lambda a: a["nodes"][0].update({"class": 0}), "nodes.0.class: "),
    "a flat grid": (lambda a: a["grid"].update(shape=[0, 4, 4]), "grid.shape.0: "),
    "a grid of two": (lambda a: a["grid"].update(shape=[4, 4]), "grid.shape: "),
    "an affine of words": (lambda a: a["grid"]["affine"][0].__setitem__(0, "1"), "grid.affine.0.0"),
    "an affine of three": (lambda a: a["grid"]["affine"].pop(), "grid.affine: "),
    "a box below 0": (lambda a: a["body_box"][0].__setitem__(0, -1), "body_box.0.0: "),
    "another storage": (lambda a: a.update(storage="zarr"), "storage: "),
    "modalities of numbers": (lambda a: a.update(modalities=[1, 2]), "modalities.0: "),
}


def spoilt(file: Path, spoil: Spoil) -> None:
    about = json.loads(file.read_text())
    spoil(about)
    file.write_text(json.dumps(about))


@pytest.mark.parametrize("name", STORE)
def test_a_field_of_the_index_of_another_type_is_named(store: CaseStore, name: str) -> None:
    spoil, words = STORE[name]
    spoilt(store.path / "store.json", spoil)
    with pytest.raises(StoreError) as caught:
        CaseStore(store.path)
    line = str(caught.value)
    assert words in line, line
    assert "\n" not in line
    assert "run `hilum prepare` again into a new folder" in line


@pytest.mark.parametrize("name", CASE)
def test_a_field_of_a_case_of_another_type_is_named(store: CaseStore, name: str) -> None:
    spoil, words = CASE[name]
    spoilt(store.path / "both" / "case.json", spoil)
    with pytest.raises(StoreError) as caught:
        _ = CaseStore(store.path)["both"]
    assert words in str(caught.value), str(caught.value)
    assert str(store.path / "both" / "case.json") in str(caught.value)


SIDES = "x".join(map(str, SHAPE)).replace("x", " x ")
ARRAYS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "float32 images": ("images", lambda a: a.astype(np.float32), "float16 of 2 x"),
    "one image of two": ("images", lambda a: a[:1], f"found float16 of 1 x {SIDES}"),
    "images of other sides": ("images", lambda a: a[:, :-1], f"float16 of 2 x {SIDES}"),
    "a label of floats": ("label", lambda a: a.astype(np.float32), f"uint8 of {SIDES}"),
    "a flat label": ("label", lambda a: a[0], f"uint8 of {SIDES}"),
    "regions of truth": ("regions", lambda a: a.astype(bool), f"uint8 of {SIDES}, found bool"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_of_another_type_or_side_is_refused(store: CaseStore, name: str) -> None:
    which, change, words = ARRAYS[name]
    file = store.path / "both" / f"{which}.npy"
    np.save(file, change(np.load(file)))
    with pytest.raises(StoreError) as caught:
        CaseStore(store.path)["both"].read((0, 0, 0), (2, 2, 2), ("ct", "pet"))
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_label_outside_the_classes_is_refused_and_unknown_voxels_are_not(
    store: CaseStore,
) -> None:
    file = store.path / "both" / "label.npy"
    label = np.load(file)
    label[0, 0, 0] = 255
    np.save(file, label)
    CaseStore(store.path)["both"].read((0, 0, 0), SHAPE, ("ct",))
    label[0, 0, 0] = store.classes
    np.save(file, label)
    with pytest.raises(StoreError, match=r"labels must be below 3, .* or 255, found 3"):
        CaseStore(store.path)["both"].read((0, 0, 0), SHAPE, ("ct",))


POINTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray], str]] = {
    "beyond the end": ("points", lambda a: a + np.int16(100), "must lie inside the case"),
    "before the start": ("points", lambda a: a - np.int16(100), "must lie inside the case"),
    "of floats": ("points", lambda a: a.astype(np.float32), "found float32"),
    "in a plane": ("points", lambda a: a[:, :2], "must lie inside the case"),
    "fewer numbers": ("node", lambda a: a[:-1], "found node"),
    "numbers of floats": ("node", lambda a: a.astype(np.float32), "must lie inside"),
    "of another class": ("label", lambda a: a + np.uint8(50), "labels must be below 3"),
}


@pytest.mark.parametrize("name", POINTS)
def test_voxels_outside_of_the_case_are_refused(store: CaseStore, name: str) -> None:
    which, change, words = POINTS[name]
    file = store.path / "both" / "foreground.npz"
    arrays = dict(np.load(file))
    np.savez(file, **arrays | {which: change(arrays[which])})
    with pytest.raises(StoreError) as caught:
        _ = CaseStore(store.path)["both"].foreground
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ["store.json", "both/case.json", "both/foreground.npz"])
def test_a_mutated_store_is_read_or_is_one_error(store: CaseStore, name: str, seed: int) -> None:
    """Fifty mutations of each file; nothing but a `UserError` ever leaves."""
    draw, refused, lines = random.Random(seed), 0, list[str]()
    file = store.path / name
    sound = file.read_bytes()
    for _ in range(50):
        content = bytearray(sound)
        for _ in range(draw.randint(1, 4)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        file.write_bytes(bytes(content[: draw.choice([len(content), draw.randrange(1, 99)])]))
        try:
            case = CaseStore(store.path)["both"]
            _ = case.foreground
            case.read((0, 0, 0), (2, 2, 2), ("ct",))
        except UserError as error:
            refused += 1
            lines.append(str(error))
    assert refused >= 10
    assert not [line for line in lines if "\n" in line]
