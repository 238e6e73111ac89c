"""Windows give what the whole volume would, at any size and with any modality missing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor, nn

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid, IntTriple
from hilum.core.modality import modality
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore, PreparedCase
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.ensemble import Ensemble
from hilum.segmenter.inference.predict_case import predict_case, predict_mask, usable
from hilum.segmenter.inference.settings import InferenceSettings
from hilum.segmenter.segmenter import Segmenter

Make = Callable[..., SegmenterConfig]


def prepared(sides: IntTriple, modalities: tuple[str, ...] = ("ct", "pet")) -> PreparedCase:
    generator = np.random.default_rng(0)
    values = {"ct": generator.normal(0, 200, sides), "pet": generator.gamma(1, 3, sides)}
    grid = Grid.from_spacing(sides, (4, 4, 4))
    return PreparedCase(
        id="case",
        patient="patient",
        site="",
        split="",
        images=np.stack([values[name] for name in modalities]).astype(np.float16),
        modalities=modalities,
        regions=np.ones(sides, np.uint8),
        label=None,
        grid=grid,
        source_grid=grid,
        factors={},
        inputs={},
    )


class Pointwise(nn.Module):
    """A network that looks at one voxel only, so that windows cannot matter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv3d(2, 3, 1)
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, volumes: dict[str, Tensor], available: Tensor) -> list[Tensor]:
        image = torch.cat([volumes["ct"], volumes["pet"]], 1)
        self.shapes.append(tuple(image.shape))
        return [self.conv(image)]


@pytest.fixture
def pointwise(config: Make) -> Segmenter:
    segmenter = Segmenter(config(classes=3))
    segmenter.strategy = Pointwise()  # pyright: ignore[reportAttributeAccessIssue]
    return segmenter


@pytest.mark.parametrize("sides", [(8, 12, 16), (17, 13, 31), (5, 40, 9), (1, 2, 3)])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_windows_of_a_pointwise_network_equal_the_whole_volume(
    sides: IntTriple, overlap: float, pointwise: Segmenter
) -> None:
    case = prepared(sides)
    settings = validate(InferenceSettings, {"overlap": overlap, "batch_size": 2})
    got = predict_case(pointwise, case, settings, precision="32")
    encoded = [
        modality(name).encode(case.images[i].astype(np.float32))
        for i, name in enumerate(case.modalities)
    ]
    image = torch.from_numpy(np.stack(encoded))[None]
    with torch.no_grad():
        whole = pointwise(image, torch.ones(1, 2, dtype=torch.bool))[0].softmax(1)[0]
    assert got.shape == (3, *sides)
    assert got.dtype == np.float32
    assert_allclose(got, whole.numpy(), atol=1e-5)
    assert_allclose(got.sum(0), 1, atol=1e-5)


def test_a_small_case_is_padded_with_air_up_to_the_window(pointwise: Segmenter) -> None:
    seen: list[Tensor] = []
    pointwise.strategy.register_forward_pre_hook(
        lambda module, inputs: seen.append(torch.cat(list(inputs[0].values()), 1))
    )
    predict_case(pointwise, prepared((4, 6, 8)), precision="32")
    (window,) = seen
    assert window.shape[2:] == (8, 12, 16)
    assert (window[0, :, 0, 0, 0] == torch.tensor([-1.0, 0.0])).all(), "air, and no uptake"


def test_the_window_can_be_larger_than_the_patch(pointwise: Segmenter) -> None:
    settings = validate(InferenceSettings, {"window": (16, 16, 16), "overlap": 0})
    predict_case(pointwise, prepared((16, 16, 32)), settings)
    assert pointwise.strategy.shapes == [(1, 2, 16, 16, 16)] * 2


@pytest.mark.parametrize("name", ["early", "late", "cross_attention"])
def test_a_hidden_modality_equals_an_absent_one(name: str, config: Make) -> None:
    fusion = {"name": name, **({"heads": 2} if name == "cross_attention" else {})}
    torch.manual_seed(0)
    segmenter = Segmenter(config(fusion=fusion))
    both, alone = prepared((9, 12, 16)), prepared((9, 12, 16), ("ct",))
    hidden = predict_case(segmenter, both, modalities=("ct",), precision="32")
    assert_array_equal(hidden, predict_case(segmenter, alone, precision="32"))
    assert np.abs(hidden - predict_case(segmenter, both, precision="32")).max() > 1e-4


def test_a_stored_case_is_predicted_and_training_mode_is_kept(
    threshold: Segmenter, store: CaseStore
) -> None:
    threshold.train()
    case = store["case_0"]
    mask = predict_case(threshold, case).argmax(0)
    assert threshold.training
    assert_array_equal(mask, case.images[1].astype(float) > 4)


def test_bfloat16_changes_probabilities_by_rounding_only(config: Make) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(config())
    case = prepared((8, 12, 16))
    full = predict_case(segmenter, case, precision="32")
    half = predict_case(segmenter, case, precision="bf16")
    assert half.dtype == np.float32
    assert 0 < np.abs(full - half).max() < 0.02


def test_a_modality_that_the_segmenter_never_saw_is_an_error(pointwise: Segmenter) -> None:
    with pytest.raises(SettingsError, match="must know 'pat', did you mean 'pet'"):
        predict_case(pointwise, prepared((8, 12, 16)), modalities=("pat",))
    with pytest.raises(DataError, match="case c7: the case must have one of ct, pet, found mr_t1"):
        usable(pointwise, ("mr_t1",), None, "c7")
    with pytest.raises(DataError, match="the case must have one of pet"):
        predict_case(pointwise, prepared((8, 12, 16), ("ct",)), modalities=("pet",))


def flipped_mean(network: Segmenter, image: Tensor, axes: list[tuple[int, ...]]) -> Tensor:
    """Return the mean over mirror images, written out."""
    have = torch.ones(1, 2, dtype=torch.bool)
    with torch.no_grad():
        found = [
            network(image.flip(axis) if axis else image, have)[0].softmax(1).flip(axis or ())
            for axis in axes
        ]
    return torch.stack(found).mean(0)[0]


@pytest.mark.parametrize(
    ("flips", "axes"),
    [
        ("w", [(), (4,)]),
        ("all", [(), (2,), (3,), (4,), (2, 3), (2, 4), (3, 4), (2, 3, 4)]),
    ],
)
def test_mirror_images_are_averaged(flips: str, axes: list[tuple[int, ...]], config: Make) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(config(prior=0.3)).eval()
    case = prepared((8, 12, 16))
    settings = validate(InferenceSettings, {"flips": flips})
    got = predict_case(segmenter, case, settings, precision="32")
    assert_allclose(got, flipped_mean(segmenter, encoded(case), axes).numpy(), atol=1e-6)
    assert np.abs(got - predict_case(segmenter, case, precision="32")).max() > 1e-5


def encoded(case: PreparedCase) -> Tensor:
    rows = [
        modality(name).encode(case.images[i].astype(np.float32))
        for i, name in enumerate(case.modalities)
    ]
    return torch.from_numpy(np.stack(rows))[None]


def test_an_ensemble_predicts_the_mean_of_its_members(config: Make) -> None:
    members = []
    for seed in range(2):
        torch.manual_seed(seed)
        members.append(Segmenter(config(prior=0.3)))
    case = prepared((9, 14, 20))
    got = predict_case(Ensemble(members), case, precision="32")
    alone = [predict_case(member, case, precision="32") for member in members]
    assert_allclose(got, (alone[0] + alone[1]) / 2, atol=1e-6)


def test_the_streamed_mask_is_the_whole_one(config: Make) -> None:
    torch.manual_seed(0)
    segmenter = Segmenter(config(classes=3, prior=0.3))
    case = prepared((37, 14, 20))
    whole = predict_case(segmenter, case, precision="32").argmax(0)
    mask = predict_mask(segmenter, case, precision="32")
    assert mask.dtype == np.uint8
    assert len(np.unique(mask)) > 1
    assert_array_equal(mask, whole)


def test_windows_outside_of_the_body_are_background_without_a_pass(pointwise: Segmenter) -> None:
    case = prepared((8, 12, 64))
    case.regions[..., :30] = 2
    settings = validate(InferenceSettings, {"skip_outside": True, "overlap": 0})
    got = predict_case(pointwise, case, settings, precision="32")
    assert pointwise.strategy.shapes == [(1, 2, 8, 12, 16)] * 3
    assert (got[0, ..., :16] == 1).all()
    assert (got[1:, ..., :16] == 0).all()
    everywhere = predict_case(pointwise, case, precision="32")
    assert_allclose(got[..., 16:], everywhere[..., 16:], atol=1e-6)


def test_fast_settings_ask_for_less() -> None:
    settings = validate(InferenceSettings, {"flips": "all", "overlap": 0.5}).fast()
    assert (settings.flips, settings.overlap, settings.skip_outside) == ("none", 0.25, True)
    assert settings.changed(flips="w", overlap=None).flips == "w"
    with pytest.raises(SettingsError, match="overlap"):
        settings.changed(overlap=1.0)
