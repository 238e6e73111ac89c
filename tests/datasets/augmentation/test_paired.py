"""Each sample is changed by its own seed, and pairs stay pairs unless asked otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor
from torch.testing import assert_close

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import IntTriple
from hilum.core.modality import modality
from hilum.datasets.augmentation.paired import AugmentationSettings, PairedAugmentation
from hilum.datasets.augmentation.plan import Plan
from hilum.datasets.batch import Batch

PAIR = ("ct", "pet")
PATCH: IntTriple = (8, 10, 12)
READ: IntTriple = (14, 16, 20)
SPACING = (3.0, 2.0, 1.5)
CT, PET = modality("ct"), modality("pet")
none = AugmentationSettings.none


def paired(**changes: Any) -> PairedAugmentation:
    return PairedAugmentation(PAIR, PATCH, SPACING, none(**changes))


def a_batch(count: int = 4, read: IntTriple = READ, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(count, 2, *read, generator=generator)
    image[:, 0] *= 100
    image[:, 1] = image[:, 1].abs() * 3
    return {
        "image": image,
        "available": torch.ones(count, 2, dtype=torch.bool),
        "regions": torch.full((count, 1, *read), 7, dtype=torch.uint8),
        "label": torch.randint(0, 3, (count, 1, *read), generator=generator, dtype=torch.uint8),
        "case": [f"case {i}" for i in range(count)],
        "seed": torch.arange(count) + 100 * seed,
    }


def middle(volume: Tensor) -> Tensor:
    box = [slice((n - p) // 2, (n - p) // 2 + p) for n, p in zip(READ, PATCH, strict=True)]
    return volume[(..., *box)]


def label_of(batch: Batch) -> Tensor:
    assert "label" in batch
    return batch["label"]


def decoded(batch: Batch) -> tuple[Tensor, Tensor]:
    return CT.decode(batch["image"][:, 0]), PET.decode(batch["image"][:, 1])


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_with_everything_off_the_middle_is_encoded_and_nothing_else(
    augment: bool, dtype: torch.dtype
) -> None:
    batch = a_batch()
    batch["image"] = batch["image"].to(dtype)
    result = paired()(batch, augment)
    physical = middle(batch["image"]).float()
    assert torch.equal(result["image"][:, 0], CT.encode(physical[:, 0]))
    assert torch.equal(result["image"][:, 1], PET.encode(physical[:, 1]))
    for name in ("label", "regions"):
        assert torch.equal(result[name], middle(batch[name]))  # pyright: ignore
    assert torch.equal(result["available"], batch["available"])
    assert result["case"] == batch["case"]
    if not augment:
        full = PairedAugmentation(PAIR, PATCH, SPACING, wild())(batch, augment)
        assert torch.equal(full["image"], result["image"]), "the settings do not matter"


def wild() -> AugmentationSettings:
    """Return settings in which every operation happens to about half of the samples."""
    fields = AugmentationSettings.model_fields
    half = {n: {"p": 0.5} for n, f in fields.items() if hasattr(f.default, "p")}
    return AugmentationSettings.model_validate(half | {"misalign_p": 0.5, "dropout": 0.3})


def test_a_sample_does_not_depend_on_its_batch_mates_and_the_input_is_kept() -> None:
    batch = a_batch(12)
    before = {name: value.clone() for name, value in batch.items() if isinstance(value, Tensor)}
    augmentation = PairedAugmentation(PAIR, PATCH, SPACING, wild())
    together = augmentation(batch)
    order = [7, 2, 11]
    for count, rows in ((1, order), (3, [order])):
        for row in rows:
            picked = [row] if count == 1 else row
            some: Batch = {**batch, "case": [batch["case"][r] for r in picked]}  # pyright: ignore
            for name in before:
                some[name] = batch[name][picked]  # pyright: ignore
            alone = augmentation(some)
            for name in before:
                assert torch.equal(alone[name], together[name][picked]), name  # pyright: ignore
    for name, value in before.items():
        assert torch.equal(batch[name], value), f"{name} was changed in place"  # pyright: ignore
    assert torch.equal(augmentation(batch)["image"], together["image"])
    batch["seed"] += 1
    assert not torch.equal(augmentation(batch)["image"], together["image"])


def test_an_image_made_of_the_label_stays_glued_to_it() -> None:
    sides: IntTriple = (40, 48, 56)
    generator = torch.Generator().manual_seed(0)
    blobs = torch.nn.functional.interpolate(
        torch.rand(6, 1, 6, 6, 6, generator=generator), size=sides, mode="trilinear"
    )
    batch = a_batch(6, sides)
    batch["label"] = (blobs > 0.5).to(torch.uint8)
    batch["image"] = torch.cat([batch["label"] * 400.0 - 160, batch["label"] * 2.0], 1)
    settings = none(rotation={"p": 1}, scale={"p": 0.5}, mirror=(0.5, 0.5, 0.5))
    result = PairedAugmentation(PAIR, (32, 36, 40), SPACING, settings)(batch)
    ct, pet = decoded(result)
    label, body = label_of(result)[:, 0] > 0, (result["regions"][:, 0] & 1) > 0
    # Nearest is half a voxel off at most, to either side: edges differ, places do not.
    for mask in (ct > 40, pet > 1):
        mask = mask & body
        assert (mask == label)[body].float().mean() > 0.98
        assert_allclose(centres(mask), centres(label), atol=0.05)
    same = ((batch["label"][:, 0, 4:36, 6:42, 8:48] > 0) == label)[body].float().mean()
    assert same < 0.9, "the patches have moved"


def centres(masks: Tensor) -> np.ndarray:
    """Return the mean place of each mask of a batch, in voxels."""
    return np.array([np.argwhere(mask.numpy()).mean(0) for mask in masks])


def test_a_turned_ball_is_still_a_ball_in_mm() -> None:
    sides: IntTriple = (17, 25, 33)
    places = np.stack(np.meshgrid(*[np.arange(n) - n // 2 for n in sides], indexing="ij"), -1)
    batch = a_batch(1, sides)
    ball = np.linalg.norm(places * SPACING, axis=-1) < 15
    batch["label"] = torch.from_numpy(ball.astype(np.uint8))[None, None]
    settings = none(rotation={"p": 1, "low": 35.0, "high": 35.0})
    turned = label_of(PairedAugmentation(PAIR, sides, SPACING, settings)(batch))[0, 0].numpy()
    for mask in (ball, turned > 0):
        spread = np.cov(places[mask].T * np.array(SPACING)[:, None])
        assert_allclose(spread, np.eye(3) * 15**2 / 5, atol=3)


def test_mirrors_are_exact() -> None:
    batch = a_batch(1)
    result = paired(mirror=(1.0, 0.0, 1.0))(batch)
    assert torch.equal(result["image"], paired()(batch)["image"].flip((2, 4)))
    assert torch.equal(label_of(result), middle(label_of(batch)).flip((2, 4)))


@pytest.mark.parametrize("shift", [(6.0, -4.0, 3.0), (0.0, 2.0, -4.5)])
def test_misalignment_moves_its_modality_by_exactly_the_asked_mm(
    monkeypatch: pytest.MonkeyPatch, shift: tuple[float, float, float]
) -> None:
    batch = a_batch(1)
    batch["regions"][0, 0, :9] = 5  # the field of view of CT ends here
    batch["regions"][0, 0, 9:] = 3
    batch["image"][0, 1, 9:] = 0
    monkeypatch.setattr(
        "hilum.datasets.augmentation.paired.draw", lambda *_: Plan(shifts={1: shift})
    )
    result, still = paired()(batch), paired()(batch, augment=False)
    assert torch.equal(result["image"][:, 0], still["image"][:, 0])
    assert torch.equal(label_of(result), label_of(still))
    assert torch.equal(result["regions"] & 3, still["regions"] & 3)
    steps = [round(s / v) for s, v in zip(shift, SPACING, strict=True)]
    moved = middle(batch["image"].roll(steps, (2, 3, 4)))
    assert torch.equal(result["image"][:, 1], PET.encode(moved[:, 1]))
    seen = middle(batch["regions"].roll(steps, (2, 3, 4)))
    assert torch.equal(result["regions"] & 4, seen & 4)


def test_suv_jitter_scales_pet_only_and_on_a_log_scale() -> None:
    batch = a_batch(40)
    batch["image"][:, 1] = batch["image"][:, 1].clamp(max=20)
    result = paired(suv_scale={"p": 1})(batch)
    still = paired()(batch)
    assert torch.equal(result["image"][:, 0], still["image"][:, 0])
    ratio = decoded(result)[1] / decoded(still)[1]
    factor = ratio.flatten(1).median(1).values
    assert_close(ratio, factor[:, None, None, None].expand_as(ratio), rtol=1e-2, atol=1e-2)
    assert 0.8 <= factor.min() < 0.9
    assert 1.1 < factor.max() <= 1.25
    assert abs(float(factor.log().mean())) < 0.06


def test_pet_loses_resolution_by_the_asked_mm() -> None:
    read: IntTriple = (30, 40, 50)
    batch = a_batch(1, read)
    batch["image"][:] = 0
    batch["image"][0, 1, 15, 20, 25] = 30
    settings = none(resolution={"p": 1, "low": 7.0, "high": 7.0})
    result = PairedAugmentation(PAIR, read, SPACING, settings)(batch)
    pet = decoded(result)[1][0].double().numpy()
    for axis, size in enumerate(SPACING):
        profile = pet.sum(tuple(other for other in range(3) if other != axis))
        place = (np.arange(len(profile)) - len(profile) // 2) * size
        spread = (profile * place**2).sum() / profile.sum()
        assert_allclose(2.3548 * np.sqrt(spread), 7, rtol=0.01)


@pytest.mark.parametrize(
    ("name", "channel"),
    [(name, 0) for name in ("blur", "noise", "brightness", "contrast", "gamma")]
    + [(name, 1) for name in ("suv_scale", "resolution", "count_noise")],
)
def test_an_operation_changes_its_own_modality_only(name: str, channel: int) -> None:
    batch = a_batch(2)
    result, still = paired(**{name: {"p": 1}})(batch)["image"], paired()(batch)["image"]
    assert torch.equal(result[:, 1 - channel], still[:, 1 - channel])
    assert not torch.allclose(result[:, channel], still[:, channel], atol=1e-3)
    assert (result[:, 1] >= 0).all()


SOFTER = [(n, 0) for n in ("blur", "low_resolution")]
SOFTER += [(n, 1) for n in ("resolution", "low_resolution")]


@pytest.mark.parametrize(("softer", "channel"), SOFTER)
def test_noise_comes_after_what_softens(softer: str, channel: int) -> None:
    """As on a scanner: the noise of a softened constant is as sharp as that of the constant."""
    batch = a_batch(3)
    batch["image"][:, 0], batch["image"][:, 1] = 40, 4
    noise = {("noise", "count_noise")[channel]: {"p": 1, "low": 0.05, "high": 0.05}}
    width = {"p": 1, "low": 0.5, "high": 0.5} if softer == "low_resolution" else {"p": 1}
    alone, both = (decoded(paired(**more)(batch)) for more in (noise, {**noise, softer: width}))
    assert alone[channel].std() > 0.05
    assert_close(both[channel], alone[channel], rtol=1e-4, atol=1e-4 * (1000, 1)[channel])


def test_the_scale_of_the_uptake_scales_its_noise() -> None:
    """A dose that was noted wrongly changes every voxel by one factor, noise included."""
    batch = a_batch(3)
    batch["image"][:, 1] = 4
    noise = {"count_noise": {"p": 1, "low": 0.1, "high": 0.1}}
    factor = {"suv_scale": {"p": 1, "low": 1.2, "high": 1.2}}
    alone, both = (decoded(paired(**more)(batch))[1] for more in (noise, {**noise, **factor}))
    assert alone.std() > 0.05
    assert_close(both, alone * 1.2, rtol=1e-4, atol=1e-4)


def test_contrast_acts_on_the_noise_too() -> None:
    """The window comes last, as whoever looks at a scan sets it."""
    batch = a_batch(3)
    batch["image"][:, 0] = (CT.low + CT.high) / 2  # the middle, where contrast changes nothing
    noise = {"noise": {"p": 1, "low": 0.01, "high": 0.01}}
    contrast = {"contrast": {"p": 1, "low": 1.25, "high": 1.25}}
    alone, both = (decoded(paired(**more)(batch))[0] for more in (noise, {**noise, **contrast}))
    assert alone.std() > 1
    assert_close(both.std() / alone.std(), torch.tensor(1.25), rtol=1e-3, atol=0)


def test_dropout_never_hides_all_zeroes_the_channel_and_says_so() -> None:
    batch = a_batch(60)
    batch["available"][::3, 0] = False
    result = paired(dropout=0.7)(batch)
    have = result["available"]
    assert have.any(1).all()
    assert torch.equal(have & batch["available"], have)
    assert not have[batch["available"].all(1)].all(1).all()
    assert {tuple(row) for row in have.tolist()} == {(True, False), (False, True), (True, True)}
    assert not result["image"][~have].any()
    assert result["image"][have].flatten(1).any(1).all()


def test_an_absent_modality_is_zero_whatever_is_stored_there() -> None:
    batch = a_batch(2)
    batch["available"][0, 1] = False
    batch["image"][0, 1] = float("nan")
    result = PairedAugmentation(PAIR, PATCH, SPACING, wild())(batch)
    assert not result["image"][0, 1].any()
    assert result["image"].isfinite().all()


def test_beyond_the_field_of_view_nothing_shows() -> None:
    batch = a_batch(8)
    batch["regions"][..., 10:] = 1
    result = PairedAugmentation(PAIR, PATCH, SPACING, wild())(batch)
    for channel, outside in enumerate((-1.0, 0.0)):
        unseen = ((result["regions"][:, 0] >> (channel + 1)) & 1) == 0
        assert unseen.any()
        have = result["available"][:, channel]
        assert (result["image"][have, channel][unseen[have]] == outside).all()


def test_a_ct_changes_alike_with_and_without_pet() -> None:
    """Runs that differ in their modalities stay paired."""
    batch, settings = a_batch(20), wild().model_copy(update={"dropout": 0.0})
    both = PairedAugmentation(PAIR, PATCH, SPACING, settings)(batch)
    only: Batch = {**batch, "image": batch["image"][:, :1], "available": batch["available"][:, :1]}
    alone = PairedAugmentation(("ct",), PATCH, SPACING, settings)(only)
    assert torch.equal(alone["image"][:, 0], both["image"][:, 0])


def test_the_box_to_read_holds_every_patch_that_reach_allows() -> None:
    assert paired().read_shape() == PATCH
    assert paired(scale={"p": 0.1, "low": 0.5}, reach=3).read_shape() == (16, 20, 24)
    # Shifts of up to 6 mm on both sides, at 3, 2 and 1.5 mm.
    far = paired(misalign={"pet": 6.0}, misalign_p=0.1, reach=3)
    assert far.read_shape() == (12, 16, 20)
    tight = paired(scale={"p": 0.1, "low": 0.5}, reach=1.5)
    assert tight.read_shape() == (12, 16, 18)
    settings = none(rotation={"p": 1}, scale={"p": 1}, reach=4)
    roomy = PairedAugmentation(PAIR, PATCH, SPACING, settings)
    result = roomy(a_batch(20, roomy.read_shape()))
    assert (result["regions"] == 7).all(), "no turned patch sees beyond the box"


def test_a_batch_that_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(DataError, match=r"channels ct, pet.*found \[2, 1"):
        paired()({**a_batch(2), "image": torch.zeros(2, 1, *READ)})
    small: IntTriple = (7, 20, 20)
    with pytest.raises(
        DataError, match=r"case 0: .*\[8, 10, 12\], found \[7, 20, 20\].*read_shape"
    ):
        paired()(a_batch(2, small))
    with pytest.raises(SettingsError, match="three sides"):
        PairedAugmentation(PAIR, (8, 0, 8), SPACING)
    with pytest.raises(SettingsError, match="spacing must be positive"):
        PairedAugmentation(PAIR, PATCH, (1, 0, 1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_but_for_noise() -> None:
    settings = wild().model_copy(update={n: none().noise for n in ("noise", "count_noise")})
    augmentation = PairedAugmentation(PAIR, PATCH, SPACING, settings)
    batch = a_batch(12)
    moved: Any = {k: v.cuda() if isinstance(v, Tensor) else v for k, v in batch.items()}
    assert_close(
        augmentation(moved)["image"].cpu(), augmentation(batch)["image"], atol=1e-3, rtol=0
    )
