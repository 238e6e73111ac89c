"""The body mask holds the patient with the lungs, and neither air nor table."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.geometry import Grid, IntTriple
from hilum.datasets.prepare.body import body_mask

SHAPE: IntTriple = (20, 60, 80)
GRID = Grid.from_spacing(SHAPE, (5, 4, 4))


def ellipse(height: float, width: float, a: float, b: float) -> np.ndarray:
    """Return a column of elliptical section, in voxels."""
    _, h, w = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    inside = ((h - height) / a) ** 2 + ((w - width) / b) ** 2 < 1
    return np.broadcast_to(inside, SHAPE).copy()


def scan(body: np.ndarray, inside: float = 40, outside: float = -1000) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 10, SHAPE)
    return (np.where(body, inside, outside) + noise).astype(np.float32)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_lungs_count_even_where_the_scan_cuts_them() -> None:
    body, lung = ellipse(30, 40, 20, 30), ellipse(28, 30, 8, 7)
    ct = np.where(lung, np.float32(-850), scan(body))
    mask = body_mask({"ct": ct}, GRID)
    assert mask[lung].all()
    assert overlap(mask, body) > 0.97


def test_a_thin_table_is_left_out() -> None:
    body = ellipse(30, 40, 18, 28)
    ct = scan(body)
    ct[:, 5:6, 5:75] = 100  # 4 mm thick, behind the back
    mask = body_mask({"ct": ct}, GRID)
    assert not mask[:, 5, 5:75].any()
    assert overlap(mask, body) > 0.97


def test_both_legs_are_kept() -> None:
    legs = ellipse(30, 22, 13, 13) | ellipse(30, 58, 10, 10)
    assert overlap(body_mask({"ct": scan(legs)}, GRID), legs) > 0.95


def test_a_body_that_touches_the_border_is_whole() -> None:
    body = ellipse(30, 0, 60, 50)
    mask = body_mask({"ct": scan(body)}, GRID)
    assert overlap(mask, body) > 0.97
    assert mask[:, 30, 0].all()


@pytest.mark.parametrize(("name", "inside"), [("pet", 1.2), ("mr_t1", 900.0)])
def test_without_ct_the_other_modality_shows_the_body(name: str, inside: float) -> None:
    body = ellipse(30, 40, 20, 30)
    volume = np.where(body, inside, inside / 50).astype(np.float32)
    assert overlap(body_mask({name: volume}, GRID), body) > 0.95


def test_ct_decides_where_there_are_both() -> None:
    body = ellipse(30, 40, 20, 30)
    pet = np.where(ellipse(30, 40, 5, 5), 9.0, 0.0).astype(np.float32)
    assert overlap(body_mask({"pet": pet, "ct": scan(body)}, GRID), body) > 0.97


def test_air_alone_counts_as_body_everywhere() -> None:
    assert body_mask({"ct": np.full(SHAPE, -1000, np.float32)}, GRID).all()
