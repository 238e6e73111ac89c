"""What is drawn for a sample has the asked frequency and strength, one draw beside the other."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from hilum.datasets.augmentation.plan import Plan, draw
from hilum.datasets.augmentation.settings import AugmentationSettings

PAIR = ("ct", "pet")
none = AugmentationSettings.none
DEFAULTS = AugmentationSettings.model_validate({})


def plans_of(settings: AugmentationSettings, count: int = 2000) -> list[Plan]:
    return [draw(settings, PAIR, seed, (True, True)) for seed in range(count)]


def test_a_plan_depends_on_its_seed() -> None:
    plans = plans_of(DEFAULTS, 50)
    assert plans == plans_of(DEFAULTS, 50)
    assert sum(plan == Plan() for plan in plans) < 15


def test_nothing_happens_when_everything_is_off() -> None:
    assert all(plan == Plan() for plan in plans_of(none(), 50))


def test_poses_have_the_asked_frequency_and_range() -> None:
    poses = [plan.pose for plan in plans_of(DEFAULTS)]
    turned = np.array([pose.angles for pose in poses if any(pose.angles)])
    grown = np.array([pose.zoom for pose in poses if pose.zoom != 1])
    assert_allclose([len(turned) / 2000, len(grown) / 2000], 0.2, atol=0.03)
    assert_allclose(np.mean([pose.mirror for pose in poses], 0), 0.5, atol=0.04)
    assert_allclose([turned.min(), turned.max()], [-30, 30], atol=1)
    assert_allclose(turned.mean(0), 0, atol=2.5)
    assert_allclose([grown.min(), grown.max()], [0.8, 1.25], atol=0.01)
    assert_allclose(np.log(grown).mean(), 0, atol=0.02)


def test_operations_have_the_asked_frequency_and_range() -> None:
    plans = plans_of(DEFAULTS)
    for channel, names in ((0, ("blur", "noise", "gamma")), (1, ("suv_scale", "resolution"))):
        for name in names:
            drawn = getattr(DEFAULTS, name)
            found = [p.changes[channel][name] for p in plans if name in p.changes.get(channel, {})]
            assert_allclose(len(found) / 2000, drawn.p, atol=0.04)
            width = drawn.high - drawn.low
            assert_allclose([min(found), max(found)], [drawn.low, drawn.high], atol=width / 20)
    inverted = [p.changes[0]["inverted"] for p in plans if "gamma" in p.changes.get(0, {})]
    assert_allclose(np.mean(inverted), 0.25, atol=0.06)


def test_switching_one_operation_leaves_the_others_as_they_were() -> None:
    fewer = DEFAULTS.model_copy(update={"noise": none().noise, "misalign_p": 0.0, "dropout": 0.0})
    for one, other in zip(plans_of(DEFAULTS, 100), plans_of(fewer, 100), strict=True):
        assert one.pose == other.pose
        for channel in (0, 1):
            kept = {k: v for k, v in one.changes.get(channel, {}).items() if k != "noise"}
            assert kept == other.changes.get(channel, {})


def test_drawn_shifts_are_as_long_as_asked_in_all_directions() -> None:
    settings = none(misalign={"pet": 10.0}, misalign_p=0.5)
    plans = [draw(settings, PAIR, seed, (True, True)) for seed in range(600)]
    assert all(set(plan.shifts) <= {1} for plan in plans)
    shifts = np.array([plan.shifts[1] for plan in plans if plan.shifts])
    lengths = np.linalg.norm(shifts, axis=1)
    assert 250 < len(shifts) < 350
    assert lengths.max() < 10
    assert_allclose(np.median(lengths), 5, atol=0.8)
    assert_allclose(shifts.mean(0), 0, atol=0.9)
    alone = [draw(settings, PAIR, seed, (False, True)).shifts for seed in range(50)]
    assert not any(alone), "a lone PET is what the label was drawn on"


def test_dropout_has_the_asked_probability() -> None:
    plans = [draw(none(dropout=0.2), PAIR, seed, (True, True)) for seed in range(2000)]
    for channel in (0, 1):
        share = np.mean([channel in plan.hidden for plan in plans])
        # One of the four ways to drop both becomes dropping one.
        assert_allclose(share, 0.2 - 0.04 / 2, atol=0.025)


def test_a_misaligned_modality_turns_by_up_to_the_asked_degrees_and_the_other_stays() -> None:
    plans = plans_of(none(misalign={"pet": 5.0}, misalign_p=1.0, misalign_turn=20.0), 500)
    assert all(set(plan.tilts) == set(plan.shifts) == {1} for plan in plans)
    tilts = np.array([plan.tilts[1] for plan in plans])
    assert np.abs(tilts).max() <= 20
    assert_allclose(tilts.std(0), 20 / 3**0.5, rtol=0.1)
    still = plans_of(none(misalign={"pet": 5.0}, misalign_p=1.0), 500)
    assert [plan.shifts for plan in still] == [plan.shifts for plan in plans], "draws stay paired"
