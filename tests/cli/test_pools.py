"""Commands that read a store read several as one pool, and find in each what they find alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hilum.cli.options import read_stores
from hilum.core.errors import StoreError
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_volume
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import SegmenterConfig, read_segmenter_config
from hilum.segmenter.segmenter import Segmenter

from ..command import hilum
from ..tiny_cohort import ENCODER, FUSION, SPACING, manifest, store  # noqa: F401


@pytest.fixture
def place(store: CaseStore, tmp_path: Path) -> Path:  # noqa: F811
    """A segmenter, a store, and another with other cases of it, whose images differ."""
    values = {"modalities": ("ct", "pet"), "encoder": ENCODER, "fusion": FUSION["early"]}
    torch.manual_seed(0)
    config = validate(SegmenterConfig, values | {"patch": (16, 16, 16), "spacing": SPACING})
    for name in ("segmenter", "twin"):
        Segmenter(config).save(tmp_path / name)
    (tmp_path / "stores").symlink_to(store.path.parent)
    return tmp_path


def called(place: Path, *words: str) -> str:
    done = hilum(*words, cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(file: Path, name: str) -> object:
    """Return what a JSON file says, without the name of the store before that of a case."""
    return json.loads(file.read_text().replace(f"{name}__", ""))


POOL = "x=stores/store,y=stores/store"


def test_a_matrix_of_a_pool_is_that_of_its_cases(place: Path) -> None:
    for out, command, where, case in (
        ("alone", "robustness", "stores/store", "case_4"),
        ("pool", "robustness", POOL, "y__case_4"),
        ("door", "evaluate --robustness", POOL, "y__case_4"),
    ):
        name, *more = command.split()
        cases = [f"cases=[{case}]", "shifts=[]", "scales=[0.7]", "resolutions=[]"]
        cases.append("tracking.mode=disabled")
        called(place, name, *more, "segmenter", where, "--out", out, *cases)
    alone, *others = (place / out / "robustness.json" for out in ("alone", "pool", "door"))
    assert [numbers(file, "y") for file in others] == [numbers(alone, "y")] * 2


def test_what_is_explained_of_a_pool_is_that_of_its_cases(place: Path) -> None:
    for out, where, case in (("alone", "stores/store", "case_4"), ("pool", POOL, "y__case_4")):
        called(place, "explain", "segmenter", where, "--out", out, "--case", case)
    maps = [sorted((place / out).glob("*.nii.gz")) for out in ("alone", "pool")]
    assert [file.name.removeprefix("y__") for file in maps[1]] == [file.name for file in maps[0]]
    assert maps[0]
    for one, other in zip(*maps, strict=True):
        np.testing.assert_array_equal(read_volume(one).array, read_volume(other).array)


def test_an_operating_point_of_a_pool_is_chosen_by_its_cases(place: Path) -> None:
    called(place, "calibrate", "segmenter", "stores/store", "--out", "a", "--case", "case_0")
    called(place, "calibrate", "twin", POOL, "--out", "b", "--case", "x__case_0")
    alone, pool = (read_segmenter_config(place / name) for name in ("segmenter", "twin"))
    assert alone.operating_point.thresholds == pool.operating_point.thresholds
    assert alone.seen is not None
    assert pool.seen is not None
    assert alone.seen.patients == pool.seen.patients != ()


def test_embeddings_of_a_pool_are_those_of_its_stores_and_a_plan_reads_them(place: Path) -> None:
    called(place, "embed", "segmenter", "stores/store", "--out", "a", "nodes=false")
    called(place, "embed", "segmenter", POOL, "--out", "b", "nodes=false")
    alone, pool = (np.load(place / name / "embeddings.npy") for name in "ab")
    np.testing.assert_array_equal(pool, np.concatenate([alone, alone]))
    words = ["--labels", "2", "--encoder", "b", "--out", "plan.csv", "among=labelled"]
    called(place, "annotate", "plan", POOL, *words)
    text = (place / "plan.csv").read_text()
    assert "x__case_" in text
    assert "y__case_" in text


def test_a_mean_of_weights_is_chosen_by_a_pool(place: Path) -> None:
    words = ["--greedy", "--store", POOL, "--case", "y__case_1"]
    assert "chosen by the Dice of y__case_1" in called(
        place, "average", "out", "segmenter", "twin", *words
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=one,x=two", "a pool has each name once, found x twice; name every store"),
        ("x=one,two", "each store of a pool needs a name and a folder, found 'two'"),
        ("x=", "each store of a pool needs a name and a folder, found 'x='"),
        ("=one", "as in a=FOLDER,b=FOLDER"),
    ],
)
def test_a_slip_in_a_pool_is_one_line(text: str, message: str) -> None:
    with pytest.raises(StoreError, match=message) as caught:
        read_stores(text)
    assert "\n" not in str(caught.value)


def test_a_folder_with_a_sign_in_its_name_is_a_store(
    store: CaseStore,  # noqa: F811
    tmp_path: Path,
) -> None:
    shutil.copytree(store.path, tmp_path / "a=b")
    assert CaseStore(read_stores(tmp_path / "a=b")).ids == store.ids
