"""Nodes have the sizes, shapes, uptake and places that the spec asks for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from hilum.core.geometry import Grid
from hilum.datasets.phantoms.canvas import Canvas, Region, Tissue, smooth_field
from hilum.datasets.phantoms.cohort import PhantomSettings, make_case
from hilum.datasets.phantoms.distractors import paint_distractors
from hilum.datasets.phantoms.nodes import (
    Node,
    draw_nodes,
    draw_short_axes,
    form_of,
)
from hilum.datasets.phantoms.placing import paint_nodes
from hilum.datasets.phantoms.shapes import Bumpy, draw_bumpy
from hilum.datasets.phantoms.stations import STATIONS, Room, stations_in_view

GRID = Grid.from_spacing((70, 50, 90), (3.0, 3.5, 3.0), (-133.5, -85.75, 340.0))


@pytest.fixture
def fat() -> Canvas:
    """Return a block of fat in the place of the chest, at the scale of an adult's third."""
    canvas = Canvas(GRID, 0.72, np.random.default_rng(0))
    canvas.hu[:], canvas.suv[:], canvas.tissue[:] = -100, 0.3, Tissue.FAT
    return canvas


def test_short_axes_are_log_normal_within_bounds() -> None:
    drawn = draw_short_axes(np.random.default_rng(0), 20_000)
    assert 4 <= drawn.min() < 4.1
    assert 25 < drawn.max() <= 30
    assert 9 < np.median(drawn) < 10.2
    low, high = ((np.log(v) - np.log(9.5)) / 0.45 for v in (4, 30))
    law = stats.truncnorm(low, high, np.log(9.5), 0.45)
    assert stats.kstest(np.log(drawn), law.cdf).statistic < 0.012


def test_malignancy_and_uptake_rise_with_size_but_overlap() -> None:
    nodes = [
        node
        for key in range(150)
        for group in draw_nodes(np.random.default_rng(key), 12, False, 0)
        for node in group
    ]
    short = np.array([node.short_mm for node in nodes])
    malignant = np.array([node.malignant for node in nodes])
    suv = np.array([node.suv for node in nodes])
    shares = [malignant[(short > a) & (short <= b)].mean() for a, b in ((4, 7), (7, 14), (14, 31))]
    assert shares[0] < shares[1] < shares[2]
    assert 0.05 < shares[0] < 0.4
    assert 0.6 < shares[2] < 0.97
    assert suv[malignant & (short > 14)].mean() > suv[malignant & (short < 8)].mean()
    assert suv[~malignant].max() <= 2.0
    assert suv[malignant].min() < 2.6
    assert 10.5 < len(nodes) / 150 < 13.5


def test_some_nodes_lie_in_clusters_merge_or_have_a_fatty_hilum() -> None:
    groups = [g for k in range(60) for g in draw_nodes(np.random.default_rng(k), 12, False, 0)]
    assert any(len(group) >= 3 for group in groups)
    assert any(node.confluent for group in groups for node in group)
    hila = [node for group in groups for node in group if node.hilum]
    assert hila
    assert not any(node.malignant for node in hila)
    assert all(len({node.malignant for node in group}) == 1 for group in groups)


def test_an_unbent_node_is_the_ellipsoid_it_says(fat: Canvas) -> None:
    drawn = draw_bumpy(np.random.default_rng(3), 20.0)
    node = Node(20.0, Bumpy(drawn.axes_mm, drawn.turn, np.zeros((4, 4))), True, 5.0, 40.0, False)
    found = form_of(fat, node, np.array([30.2, 25.4, 44.0]))
    assert found is not None
    volume = (found[1] < 1).sum() * GRID.voxel_ml
    assert volume == pytest.approx(np.pi / 6 * np.prod(drawn.axes_mm) / 1000, rel=0.03)


def test_bumps_change_a_node_without_changing_its_size_much(fat: Canvas) -> None:
    rng = np.random.default_rng(1)
    ratio = []
    for _ in range(20):
        shape = draw_bumpy(rng, 18.0)
        node = Node(18.0, shape, True, 5.0, 40.0, False)
        found = form_of(fat, node, np.array([30.0, 25.0, 44.0]))
        assert found is not None
        ratio.append(
            (found[1] < 1).sum() * GRID.voxel_ml / (np.pi / 6 * np.prod(shape.axes_mm) / 1000)
        )
    assert np.mean(ratio) == pytest.approx(1, abs=0.06)
    assert np.std(ratio) > 0.005


def test_nodes_of_a_block_of_fat_have_the_size_they_were_drawn_with(fat: Canvas) -> None:
    groups = [[one] for one in flat(draw_nodes(np.random.default_rng(4), 14, False, 0))]
    painted = paint_nodes(fat, groups, np.random.default_rng(5))
    assert len(painted.drawn) >= 0.8 * len(groups)
    for number, node in enumerate(painted.drawn, 1):
        drawn = np.pi / 6 * np.prod(node.shape.axes_mm) / 1000
        if drawn > 2:
            volume = (painted.instances == number).sum() * GRID.voxel_ml
            assert volume == pytest.approx(drawn, rel=0.35)


def test_nodes_never_cover_bone_vessels_or_airways(fat: Canvas) -> None:
    fat.tissue[:, :, ::6] = Tissue.VESSEL
    fat.tissue[:, ::7] = Tissue.BONE
    before = fat.tissue.copy()
    groups = draw_nodes(np.random.default_rng(4), 20, False, 0)
    painted = paint_nodes(fat, groups, np.random.default_rng(5))
    assert painted.drawn
    hard = np.isin(before, [Tissue.VESSEL, Tissue.BONE])
    assert not (painted.instances[hard] > 0).any()
    assert np.array_equal(fat.tissue[hard], before[hard])


def test_confluent_nodes_touch_and_keep_their_own_numbers(fat: Canvas) -> None:
    shape = Bumpy(np.array([14.0, 15.0, 16.0]), np.eye(3), np.zeros((4, 4)))
    one = Node(14.0, shape, True, 6.0, 45.0, False)
    two = Node(14.0, shape, True, 7.0, 45.0, False, confluent=True)
    painted = paint_nodes(fat, [[one, two]], np.random.default_rng(0))
    first, second = painted.instances == 1, painted.instances == 2
    assert min(first.sum(), second.sum()) > 20
    assert (ndimage.binary_dilation(first) & second).any()


def test_stations_have_a_twin_on_the_other_side() -> None:
    for name, station in STATIONS.items():
        if name.endswith("_right"):
            twin = STATIONS[name.replace("_right", "_left")]
            assert twin.centre == (-station.centre[0], *station.centre[1:])
    assert {"2R", "2L", "4R", "4L", "7", "hilar_10R", "hilar_10L"} <= set(STATIONS)


def test_only_stations_in_view_get_nodes(fat: Canvas) -> None:
    names = stations_in_view(fat)
    assert "7" in names
    assert "inguinal_left" not in names
    painted = paint_nodes(
        fat, draw_nodes(np.random.default_rng(1), 10, False, 0), np.random.default_rng(2)
    )
    assert {node.station for node in painted.drawn} <= set(names)


def test_nodes_lie_near_their_station() -> None:
    case = make_case(PhantomSettings(size="demo", seed=3, nodes=20), 1)
    scale = case.misregistration.diaphragm_mm / 430
    far = [
        np.linalg.norm(
            np.array(row["centre_mm"]) - scale * np.array(STATIONS[row["station"]].centre)
        )
        for row in case.nodes
    ]
    assert np.median(far) < 20
    assert max(far) < 75


def test_room_is_found_away_from_what_is_taken(fat: Canvas) -> None:
    room = Room(fat, {Tissue.FAT: 1.0})
    station = STATIONS["axillary_right"]
    first = room.find(station, 6.0, np.random.default_rng(0))
    room.take(first, 12.0)
    for key in range(5):
        again = room.find(station, 6.0, np.random.default_rng(key))
        assert np.linalg.norm((again - first) * GRID.spacing) > 11


def test_distractors_leave_the_ct_and_the_nodes_alone(fat: Canvas) -> None:
    painted = paint_nodes(
        fat, draw_nodes(np.random.default_rng(1), 10, False, 0), np.random.default_rng(2)
    )
    hu, suv = fat.hu.copy(), fat.suv.copy()
    found = paint_distractors(fat, 20, np.random.default_rng(3))
    assert len(found) > 5
    assert np.array_equal(fat.hu, hu)
    inside = painted.instances > 0
    assert np.array_equal(fat.suv[inside], suv[inside])
    for one in found:
        assert fat.suv[one.box][one.mask].max() > 1.5


def test_a_region_is_painted_by_its_share(fat: Canvas) -> None:
    box = (slice(2, 4), slice(2, 4), slice(2, 5))
    fat.paint(Region(box, np.full((2, 2, 3), 0.25, "f4")), 100.0, 4.3, Tissue.NODE)
    assert fat.hu[box] == pytest.approx(-50)
    assert fat.suv[box] == pytest.approx(1.3)
    assert (fat.tissue[box] == Tissue.FAT).all()


def test_shapes_have_the_volume_they_should() -> None:
    """On average: the bending makes one body's organs larger and another's smaller."""
    atlas_ml, balls, rods = GRID.voxel_ml / 0.72**3, [], []
    for key in range(6):
        canvas = Canvas(GRID, 0.72, np.random.default_rng(key))
        ball = canvas.ellipsoid((0, 0, 600), (30, 24, 27))
        rod = canvas.capsule((-20, 0, 560), (40, 0, 560), 10, 10)
        assert ball is not None
        assert rod is not None
        balls.append(ball.share.sum() * atlas_ml)
        rods.append(rod.share.sum() * atlas_ml)
    assert canvas.ellipsoid((0, 0, 5000), (10, 10, 10)) is None
    assert np.mean(balls) == pytest.approx(4 / 3 * np.pi * 30 * 24 * 27e-3, rel=0.12)
    assert np.mean(rods) == pytest.approx(np.pi * 100 * 60e-3 + 4 / 3 * np.pi, rel=0.12)


def test_a_place_of_the_atlas_is_found_through_the_bending() -> None:
    canvas = Canvas(GRID, 0.72, np.random.default_rng(2))
    index = np.round(canvas.index_of((40.0, -20.0, 560.0))).astype(int)
    here = [float(a[tuple(index)]) for a in (canvas.x, canvas.y, canvas.z)]
    assert here == pytest.approx((40, -20, 560), abs=4)


def test_a_smooth_field_has_unit_spread_and_is_smooth() -> None:
    grid = Grid.from_spacing((60, 70, 80), (2.0, 2.0, 3.0))
    field = smooth_field(np.random.default_rng(0), grid, 12.0)
    assert field.std() == pytest.approx(1, rel=0.1)
    assert abs(field.mean()) < 0.1
    assert np.abs(np.diff(field, axis=1)).max() < 1.0


def flat(groups: list[list[Node]]) -> list[Node]:
    return [node for group in groups for node in group]
