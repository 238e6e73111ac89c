"""One patient is segmented from files or from memory, and memory does not grow with the scan."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from hilum.core.errors import DataError, SettingsError, UserError
from hilum.core.geometry import Grid, IntTriple
from hilum.core.memory import Storages
from hilum.core.settings import validate
from hilum.datasets.io.nifti import read_label, read_volume, write_volume
from hilum.datasets.store.case_store import PreparedCase
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.ensemble import Ensemble
from hilum.segmenter.inference.out_of_memory import advice
from hilum.segmenter.inference.predict_case import predict_mask, predict_slabs
from hilum.segmenter.inference.settings import InferenceSettings
from hilum.segmenter.prediction.patient import Prediction, predict_maps, segment
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]
SIDES: IntTriple = (22, 26, 30)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Write a ball of tissue with a hot node."""
    grid = Grid.from_spacing(SIDES, (4.0, 4.0, 4.0))
    index = np.stack(np.meshgrid(*map(np.arange, SIDES), indexing="ij"), -1)
    body = np.linalg.norm(index - [11, 13, 15], axis=-1) < 9
    node = np.linalg.norm(index - [9, 12, 17], axis=-1) < 2.5
    ct = np.where(body, 20 + 60 * node, -1000).astype(np.float32)
    pet = (body * (1.0 + 7 * node)).astype(np.float32)
    return {
        name: write_volume(tmp_path / "in" / f"{name}.nii.gz", array, grid)
        for name, array in (("ct", ct), ("pet", pet))
    }


def test_a_segmenter_can_be_called_with_scans(
    threshold: Segmenter, files: dict[str, Path], tmp_path: Path
) -> None:
    found = threshold(files["ct"], files["pet"])
    assert isinstance(found, Prediction)
    assert found.modalities == ("ct", "pet")
    pet = read_volume(files["pet"])
    assert found.grid.same_as(pet.grid)
    assert_array_equal(found.mask, pet.array > 4)
    (row,) = found.nodes
    assert row.suv_max == pytest.approx(8)
    assert (row.probability or 0) > 0.9
    again = threshold(pet=pet)
    assert again.modalities == ("pet",)
    assert_array_equal(again.mask, found.mask)
    saved = read_label(found.save(tmp_path / "mask.nii.gz"))
    assert_array_equal(saved.array, found.mask)


def test_a_segmenter_called_with_tensors_gives_logits(config: Make) -> None:
    segmenter = Segmenter(config()).eval()
    image, have = torch.zeros(1, 2, 8, 12, 16), torch.ones(1, 2, dtype=torch.bool)
    assert segmenter(image, have)[0].shape == (1, 2, 8, 12, 16)
    assert segmenter(image=image, available=have)[0].shape == (1, 2, 8, 12, 16)


def test_scans_that_make_no_sense_are_clear_errors(
    threshold: Segmenter, files: dict[str, Path]
) -> None:
    with pytest.raises(SettingsError, match="one scan for ct, found two"):
        threshold(files["ct"], ct=files["ct"])
    with pytest.raises(SettingsError, match="a scan for each of ct, pet, found 3 scans"):
        threshold(*files.values(), files["ct"])
    with pytest.raises(SettingsError, match="must know 'mr'"):
        threshold(mr=files["ct"])
    with pytest.raises(DataError, match="at least one volume"):
        segment(threshold, {})


def members(config: Make, number: int) -> list[Segmenter]:
    found = []
    for seed in range(number):
        torch.manual_seed(seed)
        found.append(Segmenter(config(prior=0.3, classes=3)))
    return found


def made(sides: IntTriple, dtype: type = np.float16) -> PreparedCase:
    images = np.zeros((2, *sides), dtype)
    images[1] = np.random.default_rng(0).gamma(1, 3, sides[1:]).astype(dtype)
    grid = Grid.from_spacing(sides, (4, 4, 4))
    return PreparedCase(
        id="case",
        patient="patient",
        site="",
        split="",
        images=images,
        modalities=("ct", "pet"),
        regions=np.ones(sides, np.uint8),
        label=None,
        grid=grid,
        source_grid=grid,
        factors={},
        inputs={},
    )


def test_variance_is_that_of_the_foreground_over_members(config: Make) -> None:
    models, case = members(config, 3), made((8, 12, 16))
    alone = [
        next(predict_slabs(model, case, precision="32")).probability.copy() for model in models
    ]
    maps = predict_maps(Ensemble(models), case, precision="32", uncertainty="variance")
    expected = np.var([1 - one[0].astype(float) for one in alone], 0)
    assert maps.uncertainty is not None
    assert expected.max() > 1e-4
    assert_allclose(maps.uncertainty, expected, atol=1e-6)
    assert_allclose(maps.foreground, np.mean([one[1:] for one in alone], 0), atol=1e-6)


def test_entropy_is_that_of_the_mean_as_a_share_of_the_most(config: Make) -> None:
    (model,) = members(config, 1)
    maps = predict_maps(model, made((9, 12, 16)), precision="32", uncertainty="entropy")
    p = np.concatenate([1 - maps.foreground.sum(0, keepdims=True), maps.foreground]).astype(float)
    assert maps.uncertainty is not None
    assert_allclose(maps.uncertainty, -(p * np.log(p)).sum(0) / np.log(3), atol=1e-5)
    assert 0 < maps.uncertainty.min() <= maps.uncertainty.max() <= 1


def test_a_variance_of_one_prediction_is_an_error(config: Make) -> None:
    (model,) = members(config, 1)
    with pytest.raises(SettingsError, match=r"variance needs several.*--flips w"):
        predict_maps(model, made((8, 12, 16)), uncertainty="variance")
    flips = validate(InferenceSettings, {"flips": "w"})
    maps = predict_maps(model, made((8, 12, 16)), flips, uncertainty="variance")
    assert maps.uncertainty is not None
    assert maps.uncertainty.max() > 0


class OneLayer(nn.Module):
    """The lightest network that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 2, 1)
        self.encoders = nn.ModuleDict()

    def forward(self, volumes: dict[str, Tensor], available: Tensor) -> list[Tensor]:
        return [self.conv(torch.cat([volumes["ct"], volumes["pet"]], 1))]


def peak_bytes(segmenter: Segmenter, depth: int) -> tuple[int, int]:
    """Return the most that torch and that numpy hold beside the input and the mask."""
    case = made((depth, 96, 112))
    with Storages(segmenter) as storages:
        before = storages.live
        predict_mask(segmenter, case, precision="32")
    tracemalloc.start()
    mask = predict_mask(segmenter, case, precision="32")
    _, numpy_peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask.shape == (depth, 96, 112)
    return storages.peak - before, numpy_peak - mask.nbytes


def test_memory_does_not_grow_with_the_length_of_a_scan(config: Make) -> None:
    segmenter = Segmenter(config(patch=(8, 96, 112)))
    segmenter.strategy = OneLayer()  # pyright: ignore[reportAttributeAccessIssue]
    short, long = peak_bytes(segmenter, 24), peak_bytes(segmenter, 200)
    for one, other in zip(short, long, strict=True):
        assert other <= 1.02 * one
    # The probabilities of the whole volume alone would be more than all that is held.
    assert sum(long) < 2 * 4 * 200 * 96 * 112 / 2


def test_an_allocation_that_fails_names_the_setting_and_the_value(config: Make) -> None:
    (model,) = members(config, 1)

    def full(*inputs: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 3221225472 bytes. Error code 12 (Cannot allocate memory)"
        )

    model.strategy.register_forward_pre_hook(full)
    settings = validate(InferenceSettings, {"batch_size": 5})
    expected = r"case case: .*memory for 5 windows of 8 x 12 x 16 at once, found no room for "
    expected += r"another 3\.00 GiB; lower --batch from 5 to 2"
    with pytest.raises(UserError, match=expected):
        predict_mask(model, made((8, 12, 16)), settings)
    with pytest.raises(UserError, match="use a machine with more memory"):
        predict_mask(model, made((8, 12, 16)), settings.changed(batch_size=1, window=(8, 8, 8)))
    assert "96 128 128 to 64 96 96" in advice((96, 128, 128), 1, (16, 32, 32))


def test_other_errors_of_the_network_are_left_alone(config: Make) -> None:
    (model,) = members(config, 1)

    def broken(*inputs: object) -> None:
        raise RuntimeError("sizes of tensors must match")

    model.strategy.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="sizes of tensors"):
        predict_mask(model, made((8, 12, 16)))
