"""Several raters' labels become one: STAPLE equals ITK's, and the majority is counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.datasets.raters.fusing import fuse, staple


def raters(seed: int = 0, classes: int = 2) -> np.ndarray:
    """Return four raters of one truth: two good ones, one who misses, one who adds."""
    draw = np.random.default_rng(seed)
    truth = np.zeros((10, 12, 14), np.uint8)
    truth[2:7, 3:9, 2:8] = 1
    truth[4:6, 5:8, 4:7] = classes - 1
    found = []
    for miss, add in ((0.03, 0.01), (0.05, 0.02), (0.4, 0.01), (0.02, 0.25)):
        own = np.where(draw.random(truth.shape) < miss, 0, truth)
        more = draw.random(truth.shape) < add
        found.append(np.where(more & (own == 0), 1, own).astype(np.uint8))
    masks = np.stack(found)
    # Corners of the box, so that what is fused is the whole array.
    masks[0, 0, 0, 0] = masks[0, -1, -1, -1] = 1
    return masks


def test_staple_of_one_class_equals_itk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    masks = raters()
    algorithm = sitk.STAPLEImageFilter()
    algorithm.SetForegroundValue(1)
    theirs = sitk.GetArrayFromImage(
        algorithm.Execute([sitk.GetImageFromArray(mask) for mask in masks])
    )
    combinations, place, counts = np.unique(
        masks.reshape(len(masks), -1).T, axis=0, return_inverse=True, return_counts=True
    )
    weight, theta = staple(combinations, counts)
    ours = weight[place.reshape(-1), 1].reshape(masks.shape[1:])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(theta[:, 1, 1], algorithm.GetSensitivity(), atol=1e-5)
    np.testing.assert_allclose(theta[:, 0, 0], algorithm.GetSpecificity(), atol=1e-5)
    np.testing.assert_array_equal(fuse(masks, "staple"), theirs > 0.5)
    assert (fuse(masks, "staple") != fuse(masks, "majority")).any()


def test_staple_of_several_classes_equals_itk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    masks = raters(1, classes=3)
    assert set(np.unique(masks)) == {0, 1, 2}
    algorithm = sitk.MultiLabelSTAPLEImageFilter()
    algorithm.SetTerminationUpdateThreshold(1e-10)
    theirs = sitk.GetArrayFromImage(
        algorithm.Execute([sitk.GetImageFromArray(mask) for mask in masks])
    )
    ours = fuse(masks, "staple")
    decided = theirs != 3  # ITK's number for a tie
    assert decided.mean() > 0.99
    np.testing.assert_array_equal(ours[decided], theirs[decided])


def test_the_majority_counts_those_who_know_and_a_tie_is_the_lower_class() -> None:
    columns = {(1, 1, 0): 1, (2, 1, 1): 1, (0, 2, 2): 2, (0, 1, 2): 0, (255, 1, 1): 1,
               (255, 255, 2): 2, (255, 1, 0): 0, (255, 255, 255): 255, (0, 0, 0): 0}  # fmt: skip
    masks = np.array(list(columns), np.uint8).T[:, None, None]
    found = fuse(masks, "majority")[0, 0]
    assert found.tolist() == list(columns.values())
    np.testing.assert_array_equal(fuse(masks, "mean")[0, 0], found)


def test_staple_does_not_depend_on_how_much_of_the_scan_is_around() -> None:
    masks = raters()
    wide = np.pad(masks, ((0, 0), (5, 5), (0, 9), (3, 0)))
    inner = fuse(wide, "staple")[5:-5, :-9, 3:]
    np.testing.assert_array_equal(inner, fuse(masks, "staple"))


def test_an_unknown_answer_says_nothing() -> None:
    masks = raters()
    blank = np.full_like(masks[:1], 255)
    np.testing.assert_array_equal(
        fuse(np.concatenate([masks, blank]), "staple"), fuse(masks, "staple")
    )


def test_one_rater_is_taken_as_he_is() -> None:
    mask = raters()[:1]
    for how in ("staple", "majority", "mean"):
        np.testing.assert_array_equal(fuse(mask, how), mask[0])
