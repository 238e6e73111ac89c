"""The parts of the probe equal what scikit-learn-like formulas say when written slowly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.pretrain.parts.linear_probe import best_cut, fit_ridge, hypercolumns, nearest, score_maps

SIDES = (4, 6, 8)


def normal(*sides: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*sides, generator=torch.Generator().manual_seed(seed))


def pyramid() -> list[torch.Tensor]:
    return [normal(1, 3, 4, 6, 8), normal(1, 2, 2, 3, 4, seed=1), normal(1, 4, 1, 1, 2, seed=2)]


def upsampled() -> torch.Tensor:
    return torch.cat([F.interpolate(x, size=SIDES, mode="trilinear") for x in pyramid()], 1)[0]


def test_a_hypercolumn_is_a_voxel_of_the_upsampled_levels() -> None:
    places = torch.tensor([[0, 0, 0], [3, 5, 7], [1, 2, 6], [2, 4, 3]])
    expected = upsampled()[:, places[:, 0], places[:, 1], places[:, 2]].T
    assert_close(hypercolumns(pyramid(), places, SIDES), expected, rtol=1e-5, atol=1e-5)


def test_score_maps_are_the_linear_map_of_the_hypercolumns() -> None:
    head = normal(2, 10, seed=3)
    expected = torch.einsum("oc,cdhw->odhw", head[:, :-1], upsampled())
    expected = expected + head[:, -1].view(-1, 1, 1, 1)
    assert_close(score_maps(pyramid(), head, SIDES), expected, rtol=1e-4, atol=1e-5)


def test_ridge_equals_the_normal_equations_with_each_class_alike() -> None:
    columns, classes = normal(50, 3) * 4 + 2, torch.arange(50) % 5 // 3  # 30 and 20 of them
    head = fit_ridge(columns, classes, 2, 0.1)
    x = columns.double().numpy()
    z = np.c_[(x - x.mean(0)) / x.std(0), np.ones(50)]
    weight = np.where(classes == 0, 0.5 / 30, 0.5 / 20)
    y = np.eye(2)[classes]
    left = (z * weight[:, None]).T @ z + 0.1 * np.diag([1, 1, 1, 0])
    w = np.linalg.solve(left, (z * weight[:, None]).T @ y)
    made = torch.cat([columns, torch.ones(50, 1)], 1) @ head.T
    np.testing.assert_allclose(made.numpy(), z @ w, rtol=1e-4, atol=1e-5)


def test_ridge_does_not_mind_a_constant_column_or_an_absent_class() -> None:
    columns, classes = normal(20, 3), torch.arange(20) % 2
    columns[:, 1] = 5
    head = fit_ridge(columns, classes, 3, 1e-3)
    assert torch.isfinite(head).all()
    assert_close(head[2], torch.zeros(4), rtol=0, atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_cut_is_the_best_of_all(seed: int) -> None:
    scores = (normal(60, seed=seed) * 4).round()  # ties
    truth = scores + normal(60, seed=seed + 10) * 3 > 3

    def dice(cut: float) -> float:
        found = scores > cut
        return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))

    every = [dice(float(cut) - 0.5) for cut in scores.unique()] + [0.0]
    assert dice(best_cut(scores, truth)) == max(every)


def test_without_anything_true_nothing_is_found() -> None:
    assert best_cut(normal(5), torch.zeros(5, dtype=torch.bool)) == float("inf")


def test_neighbours_vote_by_cosine_and_large_classes_do_not_win_by_size() -> None:
    bank, classes = normal(40, 5), torch.tensor([0] * 34 + [1] * 6)
    queries = normal(9, 5, seed=4)
    x = bank.numpy()
    keys = (x - x.mean(0)) / x.std(0)
    own = (queries.numpy() - x.mean(0)) / x.std(0)
    keys, own = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (keys, own))
    expected = []
    for q in own:
        likeness = keys @ q
        near = np.argsort(-likeness)[:7]
        votes = [
            sum(np.exp(likeness[i] / 0.07) for i in near if classes[i] == c) / (34, 6)[c]
            for c in (0, 1)
        ]
        expected.append(int(np.argmax(votes)))
    assert nearest(bank, classes, queries, 2, 7).tolist() == expected
