"""A finding reads as a sentence, and says no more than its comparison."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hilum.study.report.compare import Paired
from hilum.study.report.sentences import finding

from .test_compare import judged, rows, study


@pytest.fixture(scope="module")
def clear() -> Paired:
    return judged(study(), rows(0.1))


def test_a_clear_difference_names_winner_size_interval_patients_and_runs(clear: Paired) -> None:
    c = clear.comparison
    text = finding(clear, "dice", "Dice")
    assert text == (
        f"late is better than early by {c.difference:.3f} Dice (95 % CI {c.ci_low:+.3f} to "
        f"{c.ci_high:+.3f}; 12 patients, 3 seeds in 2 draws)."
    )
    worse = finding(judged(study(), rows(-0.1)), "dice", "Dice")
    assert worse.startswith("late is worse than early by 0.1")
    assert "by -" not in worse


def test_a_metric_where_less_is_better_is_judged_by_its_direction(clear: Paired) -> None:
    assert finding(clear, "hd95_mm", "HD95 (mm)").startswith("late is worse than early by ")


def test_what_else_is_equal_comes_first(clear: Paired) -> None:
    pair = replace(clear, question="late vs. early (labels: 5, pretraining: none)")
    assert finding(pair, "dice", "Dice").startswith(
        "With labels: 5, pretraining: none: late is better than early by "
    )


def test_equivalence_and_a_wide_interval_are_said_in_words() -> None:
    equal = finding(judged(study(seeds=3), rows(0.0, 0.004, 3)), "dice", "Dice")
    assert equal.startswith("late vs. early: equivalent (±0.02), difference ")
    wide = finding(judged(study(seeds=3), rows(0.0, 0.25, 3)), "dice", "Dice")
    assert wide.startswith("late vs. early: inconclusive, difference ")
    assert wide.endswith("narrow it.")
