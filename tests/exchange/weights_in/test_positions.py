"""Position embeddings and kernels are brought to other sides by the stated rules."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from hilum.exchange.weights_in.positions import cube, fit_kernel, resize_embedding


def test_a_field_that_is_linear_along_an_axis_stays_linear() -> None:
    """Twice the tokens along the depth: the inner ones lie at quarters, computed by hand."""
    grid = torch.arange(3.0)[:, None, None].expand(3, 2, 2)
    found, how = resize_embedding(grid.reshape(1, 12, 1), (3, 2, 2), (6, 2, 2))
    wanted = torch.tensor([0.0, 0.25, 0.75, 1.25, 1.75, 2.0])
    assert_close(found.reshape(6, 2, 2)[:, 1, 0], wanted)
    assert how == "positions 3x2x2 to 6x2x2, trilinear"


def test_class_tokens_stay_and_2d_is_bicubic() -> None:
    embedding = torch.randn(1, 2 + 12, 5)
    found, how = resize_embedding(embedding, (3, 4), (6, 5), prefix=2)
    assert_close(found[:, :2], embedding[:, :2])
    plane = embedding[:, 2:].reshape(1, 3, 4, 5).permute(0, 3, 1, 2)
    wanted = F.interpolate(plane, (6, 5), mode="bicubic").permute(0, 2, 3, 1).reshape(1, 30, 5)
    assert_close(found[:, 2:], wanted)
    assert "bicubic" in how


def test_the_same_grid_changes_no_bit_and_a_wrong_one_is_an_error() -> None:
    embedding = torch.randn(1, 24, 3)
    assert resize_embedding(embedding, (2, 3, 4), (2, 3, 4)) == (embedding, "")
    with pytest.raises(ValueError, match="24 positions are not 0"):
        resize_embedding(embedding, (2, 3, 5), (2, 3, 4))


def test_a_cube_is_known_by_its_tokens() -> None:
    assert cube(8000) == (20, 20, 20)
    assert cube(24) is None


def test_a_small_kernel_inside_zeros_computes_the_same() -> None:
    weight, x = torch.randn(4, 2, 1, 3, 3), torch.randn(1, 2, 5, 6, 7)
    fitted = fit_kernel(weight, (4, 2, 3, 3, 3))
    assert fitted is not None
    assert_close(
        F.conv3d(x, fitted[0], padding=1), F.conv3d(x, weight, padding=(0, 1, 1)),
        rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    assert "exact" in fitted[1]
    assert "not exact" not in fitted[1]


def test_a_kernel_that_loses_an_axis_gets_its_mean_as_in_nnunet() -> None:
    weight = torch.randn(4, 2, 3, 3, 3)
    fitted = fit_kernel(weight, (4, 2, 1, 3, 3))
    assert fitted is not None
    assert_close(fitted[0], weight.mean(2, keepdim=True))
    assert "not exact" in fitted[1]


@pytest.mark.parametrize("shape", [(4, 3, 3, 3, 3), (4, 2, 2, 3, 3), (4, 2, 3, 3), (5, 2, 3, 3, 3)])
def test_other_shapes_have_no_rule(shape: tuple[int, ...]) -> None:
    assert fit_kernel(torch.ones(4, 2, 1, 3, 3), shape) is None
