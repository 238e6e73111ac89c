"""Ranks by hand, and their stability on arms that are clearly or hardly apart."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.evaluation.statistics.ranking import rank

NAN = np.nan


def test_both_ways_of_ranking_by_hand() -> None:
    """A wins on two of three patients by little, and loses the third by much."""
    tables = {
        "a": np.array([[0.6], [0.7], [0.1]]),
        "b": np.array([[0.5], [0.6], [0.8]]),
    }
    by_mean = rank(tables)
    assert by_mean.order == ("b", "a")
    by_rank = rank(tables, way="rank then mean")
    assert by_rank.order == ("a", "b")
    assert by_rank.ranks == {"a": 1.0, "b": 2.0}


def test_lower_can_be_better_and_equal_arms_share_a_rank() -> None:
    tables = {"a": np.full((4, 2), 3.0), "b": np.full((4, 2), 3.0), "c": np.full((4, 2), 1.0)}
    found = rank(tables, higher_is_better=False)
    assert found.ranks == {"c": 1.0, "a": 2.5, "b": 2.5}
    assert found.shares["a"] == (0.0, 0.5, 0.5)
    assert [found.place(arm) for arm in "cab"] == ["1", "2 =", "2 ="]
    assert found.first == ("c",)


@pytest.mark.parametrize("tied", [2, 3, 4])
def test_tied_arms_share_the_first_place(tied: int) -> None:
    names = [f"arm {i}" for i in range(tied)]
    table = np.random.default_rng(0).uniform(0.5, 0.9, (6, 2))
    found = rank({**dict.fromkeys(names, table), "worse": table - 0.1})
    assert found.first == tuple(names)
    assert {found.place(name) for name in names} == {"1 ="}
    for name in names:
        assert found.shares[name][0] == pytest.approx(1 / tied)
    for place in range(tied + 1):
        assert sum(shares[place] for shares in found.shares.values()) == pytest.approx(1)


def test_clear_ranks_are_stable_and_close_ones_are_not() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(0.6, 0.1, (15, 3))
    clear = rank({"a": base + 0.2, "b": base})
    assert clear.shares["a"] == (1.0, 0.0)
    assert clear.spans == {"a": (1.0, 1.0), "b": (2.0, 2.0)}
    assert clear.tau == 1.0
    close = rank({"a": base, "b": base + generator.normal(0, 0.1, base.shape)})
    assert 0.05 < close.shares["a"][0] < 0.95
    assert close.spans["a"] == (1.0, 2.0)
    assert close.tau < 0.95


def test_one_lucky_draw_makes_ranks_unstable_though_it_has_many_seeds() -> None:
    """A wins by 1 in draw 0 (five seeds) and loses by 0.9 in draw 1 (one seed)."""
    a = np.tile(np.array([[1.0] * 5 + [-0.9]]), (6, 1))
    tables = {"a": a, "b": np.zeros_like(a)}
    assert rank(tables).shares["b"][0] < 0.1
    by_draw = rank(tables, draws=[0] * 5 + [1])
    assert by_draw.order == ("a", "b")
    assert by_draw.shares["b"][0] == pytest.approx(0.25, abs=0.05)


def test_missing_values_count_for_nobody() -> None:
    found = rank({"a": np.array([[0.9, NAN]]), "b": np.array([[0.8, 0.8]])})
    assert found.order == ("a", "b")
    assert sum(found.shares["a"]) == pytest.approx(1)
