"""What each strategy takes of patients whose embeddings are made so that one knows."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from hilum.annotate.strategies import STRATEGIES
from hilum.annotate.strategies.base import Pool
from hilum.annotate.strategies.clustering import k_means
from hilum.core.errors import SettingsError

CENTRES = np.array([[0, 0], [20, 0], [0, 20]], float)
SIZES = (30, 12, 6)


def blobs() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(3), SIZES)
    return CENTRES[group] + generator.normal(size=(len(group), 2)), group


def anyone(count: int):
    def allowed(chosen: Sequence[int]) -> np.ndarray:
        may = np.ones(count, bool)
        may[list(chosen)] = False
        return may

    return allowed


def chosen(name: str, number: int, seed: int = 0, **more: np.ndarray) -> list[int]:
    vectors, _ = blobs()
    names = [f"p{i}" for i in range(len(vectors))]
    pool = Pool(names, np.random.default_rng(seed), vectors, **more)
    picks = STRATEGIES[name]().pick(pool, number, anyone(len(vectors)))
    assert all(pick.reason for pick in picks)
    assert len({pick.who for pick in picks}) == number
    return [pick.who for pick in picks]


def test_typical_takes_the_middle_of_each_cluster_the_largest_first() -> None:
    vectors, group = blobs()
    found = chosen("typical", 3)
    assert group[found].tolist() == [0, 1, 2]
    for index in found:
        own = np.flatnonzero(group == group[index])
        apart = np.linalg.norm(vectors[own, None] - vectors[own][None], axis=-1)
        mean = np.sort(apart, 1)[:, 1:21].mean(1)
        assert index == own[np.argmin(mean)]


def test_typical_says_of_which_cluster() -> None:
    vectors, group = blobs()
    pool = Pool([f"p{i}" for i in range(len(vectors))], np.random.default_rng(0), vectors)
    picks = STRATEGIES["typical"]().pick(pool, 3, anyone(len(vectors)))
    told = [
        re.fullmatch(r"most typical of cluster (\d) of 3 \((\d+) patients\)", p.reason)
        for p in picks
    ]
    assert all(told)
    assert sorted(int(one[1]) for one in told if one) == [1, 2, 3]
    sizes = [int((group == group[pick.who]).sum()) for pick in picks]
    assert [int(one[2]) for one in told if one] == sizes


def test_typical_leaves_clusters_that_have_labels_to_the_last() -> None:
    _, group = blobs()
    found = chosen("typical", 2, known=CENTRES[[0]])
    assert set(group[found]) == {1, 2}


def test_coverage_is_the_greedy_core_set() -> None:
    vectors, group = blobs()
    found = chosen("coverage", 4)
    first = int(np.linalg.norm(vectors - vectors.mean(0), axis=1).argmin())
    want = [first]
    for _ in range(3):
        gaps = [min(np.linalg.norm(v - vectors[i]) for i in want) for v in vectors]
        want.append(int(np.argmax(gaps)))
    assert found == want
    assert group[chosen("coverage", 1, known=CENTRES[:2])[0]] == 2


def test_uncertain_takes_classes_in_turn_and_no_two_alike() -> None:
    vectors, group = blobs()
    doubt = np.zeros((len(vectors), 2))
    doubt[group == 0, 0] = 0.9
    doubt[group == 1, 0] = 0.8
    doubt[group == 2, 1] = 0.7
    found = chosen("uncertain", 2, doubt=doubt)
    assert group[found[0]] == 0
    assert group[found[1]] == 2
    only = np.where(group == 2, 0.5, 0.9)[:, None]
    three = chosen("uncertain", 3, doubt=only)
    apart = [np.linalg.norm(vectors[a] - vectors[b]) for a in three for b in three if a < b]
    unsure = np.argsort(-only[:, 0], kind="stable")[:3]
    near = [np.linalg.norm(vectors[a] - vectors[b]) for a in unsure for b in unsure if a < b]
    assert min(apart) > max(near)


def test_random_draws_all_alike() -> None:
    draws = [chosen("random", 1, seed)[0] for seed in range(400)]
    assert len(set(draws)) > 40
    assert chosen("random", 5, 3) == chosen("random", 5, 3)
    assert chosen("random", 5, 3) != chosen("random", 5, 4)


@pytest.mark.parametrize("name", ["typical", "coverage", "uncertain"])
def test_a_strategy_says_what_it_lacks(name: str) -> None:
    pool = Pool(["a", "b"], np.random.default_rng(0))
    with pytest.raises(SettingsError, match=r"give --(encoder|segmenter)"):
        STRATEGIES[name]().pick(pool, 1, anyone(2))


@pytest.mark.parametrize("name", ["random", "typical", "coverage", "uncertain"])
def test_only_those_who_may_are_taken(name: str) -> None:
    vectors, group = blobs()
    pool = Pool(
        [str(i) for i in group], np.random.default_rng(0), vectors, doubt=np.ones((len(group), 1))
    )

    def allowed(chosen: Sequence[int]) -> np.ndarray:
        may = group == 2
        may[list(chosen)] = False
        return may

    picks = STRATEGIES[name]().pick(pool, 6, allowed)
    assert sorted(pick.who for pick in picks) == np.flatnonzero(group == 2).tolist()


def test_clusters_are_those_of_scikit_learn() -> None:
    vectors, group = blobs()
    found = k_means(vectors, 3, np.random.default_rng(0))
    want = KMeans(3, n_init=10, random_state=0).fit_predict(vectors)
    assert adjusted_rand_score(found, want) == 1
    assert adjusted_rand_score(found, group) == 1
    copies = k_means(np.zeros((4, 2)), 3, np.random.default_rng(0))
    assert copies.shape == (4,)


@pytest.mark.parametrize("name", ["typical", "coverage"])
def test_copies_of_one_patient_do_not_break_a_choice(name: str) -> None:
    pool = Pool(["a", "b", "c"], np.random.default_rng(0), np.zeros((3, 2)))
    assert len({p.who for p in STRATEGIES[name]().pick(pool, 3, anyone(3))}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["typical", "coverage", "uncertain"])
def test_choosing_from_a_thousand_takes_seconds(name: str) -> None:
    import time

    vectors = np.random.default_rng(0).normal(size=(1000, 500)).astype(np.float32)
    pool = Pool(list(map(str, range(1000))), np.random.default_rng(0), vectors,
                doubt=np.ones((1000, 1)))  # fmt: skip
    began = time.process_time()
    STRATEGIES[name]().pick(pool, 20, anyone(1000))
    assert time.process_time() - began < 60
