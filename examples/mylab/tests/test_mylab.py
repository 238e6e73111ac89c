"""What hilum's contracts do not know: that each method does what its name says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from mylab.decoder import TopDownDecoder
from mylab.encoder import StridedEncoder
from mylab.fusion import _maximum
from mylab.layout import write_example
from mylab.loss import LogDiceLoss
from mylab.metric import volume_ratio

from hilum.core.checkpoints import EncoderConfig, save_encoder
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.datasets.importers.importing import read_layout
from hilum.datasets.source import Source
from hilum.exchange.networks_out.exporting import export
from hilum.exchange.weights_in.importing import import_weights


def test_the_maximum_is_over_what_is_there() -> None:
    maps = {"ct": torch.tensor([1.0, 1.0]), "pet": torch.tensor([2.0, 9.0])}
    present = {"ct": torch.tensor([True, True]), "pet": torch.tensor([True, False])}
    assert _maximum(maps, present).tolist() == [2.0, 1.0]


def test_the_loss_of_even_odds_is_by_hand() -> None:
    label = torch.zeros(1, 1, 1, 1, 2, dtype=torch.uint8)
    label[..., 0] = 1
    value, _ = LogDiceLoss()([torch.zeros(1, 2, 1, 1, 2)], label)
    dice = 2 * 0.5 / (0.5 + 0.5 + 1)
    assert math.isclose(float(value), -math.log(dice) + math.log(2), rel_tol=1e-6)


def test_the_ratio_of_nothing_is_undefined() -> None:
    grid = Grid.from_spacing((1, 1, 4), (1.0, 1.0, 1.0))
    one, two = np.array([[[1, 0, 0, 0]]], bool), np.array([[[1, 1, 0, 0]]], bool)
    assert volume_ratio(two, one, grid, {}) == 2
    assert math.isnan(volume_ratio(two, one & False, grid, {}))


def test_the_size_that_is_listed_is_that_of_the_network() -> None:
    count, strides = StridedEncoder.sizes["default"]
    made = StridedEncoder(in_channels=2)
    assert sum(p.numel() for p in made.parameters()) == count
    assert strides == tuple(s[0] for s in made.strides)


def test_the_way_up_is_by_hand() -> None:
    """With projections and convolutions that pass on: the sum of the maps, each brought up."""
    made = TopDownDecoder((1, 1), ((1, 1, 1), (2, 2, 2)), classes=1, prior=None, width=1)
    for part in (*made.projections, *made.smooth, made.head):
        torch.nn.init.dirac_(part.weight)
        torch.nn.init.zeros_(part.bias)
    fine, coarse = torch.rand(1, 1, 2, 4, 2), torch.rand(1, 1, 1, 2, 1)
    up = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert torch.allclose(made([fine, coarse])[0], fine + up)


def test_the_arrays_are_the_weights(tmp_path: Path) -> None:
    made = StridedEncoder(in_channels=1, features=[4, 8])
    about = {"architecture": {"name": "strided", "features": [4, 8]}, "modalities": ("ct",)}
    about |= {"spacing": (1.0, 1.0, 1.0), "patch": (8, 8, 8)}
    source = save_encoder(tmp_path / "encoder", made, validate(EncoderConfig, about))
    arrays = np.load(export(source, "arrays", tmp_path / "out") / "weights.npz")
    assert set(arrays.files) == set(made.state_dict())
    for name, value in made.state_dict().items():
        assert np.array_equal(arrays[name], value.numpy()), name


def test_the_archive_is_read(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    write_example(tmp_path / "raw")
    found = read_layout("mylab_flat", Source(tmp_path / "raw", tmp_path / "out")).cases
    assert [(case.id, [*case.volumes]) for case in found] == [
        ("P01", ["ct", "pet"]),
        ("P02", ["ct"]),
    ]


def test_our_weights_come_back(tmp_path: Path) -> None:
    made = StridedEncoder(in_channels=1, features=[4, 8])
    torch.save({f"mylab_net.{k}": v for k, v in made.state_dict().items()}, tmp_path / "net.pt")
    import_weights("auto", tmp_path / "net.pt", tmp_path / "encoder", modalities=("ct",))
    found = read_weights(tmp_path / "encoder")
    for name, value in made.state_dict().items():
        assert torch.equal(found[name], value), name
