"""The remaining time is within a third of the truth after a tenth of the work."""

from __future__ import annotations

import pytest

from hilum.training.eta import KEPT, RemainingTime

STEPS = 1000


def run(
    seconds: list[float], validate_every: int = 0, validation: float = 0.0
) -> dict[int, tuple[float, float]]:
    """Go through all steps; return the estimate after each, and what was left in truth."""
    estimate, total = RemainingTime(STEPS, validate_every), 0.0
    told: dict[int, float] = {}
    passed: list[float] = []
    for step, one in enumerate(seconds, 1):
        estimate.step(one)
        total += one
        if validate_every and step % validate_every == 0:
            estimate.validation(validation)
            total += validation
        left = estimate.after(step)
        assert left is not None
        told[step] = left
        passed.append(total)
    return {step: (told[step], total - passed[step - 1]) for step in told}


@pytest.mark.parametrize(
    ("name", "seconds", "every", "validation"),
    [
        ("even", [0.1] * STEPS, 0, 0.0),
        ("slow start", [5.0] * 20 + [0.02] * (STEPS - 20), 0, 0.0),
        ("validations cost more than steps", [0.02] * STEPS, 100, 4.0),
        ("slow start and validations", [2.0] * 30 + [0.05] * (STEPS - 30), 50, 1.0),
        ("every tenth step waits", ([0.05] * 9 + [0.5]) * (STEPS // 10), 0, 0.0),
    ],
)
def test_within_a_third_after_a_tenth(
    name: str, seconds: list[float], every: int, validation: float
) -> None:
    after = run(seconds, every, validation)
    for step in (STEPS // 10, STEPS // 4, STEPS // 2):
        told, truth = after[step]
        assert told == pytest.approx(truth, rel=1 / 3), (name, step)
    assert after[STEPS][0] == 0


def test_nothing_is_estimated_before_the_first_step() -> None:
    assert RemainingTime(10).after(0) is None


def test_a_validation_is_counted_only_where_one_is_to_come() -> None:
    estimate = RemainingTime(10, validate_every=4)
    estimate.step(1.0)
    assert estimate.after(3) == 7
    estimate.validation(5.0)
    assert estimate.after(4) == 6 + 2 * 5  # at steps 8 and 10
    assert estimate.after(8) == 2 + 5  # the last step is validated whatever its number
    even = RemainingTime(8, validate_every=4)
    even.step(1.0)
    even.validation(5.0)
    assert even.after(4) == 4 + 5


def test_memory_is_bounded_and_the_newest_steps_count() -> None:
    estimate = RemainingTime(10**6)
    for _ in range(2 * KEPT):
        estimate.step(9.0)
    for _ in range(KEPT // 2):
        estimate.step(1.0)
    assert estimate.step_seconds == 1
