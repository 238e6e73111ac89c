"""The decoder starts at the prior, and only its announced heads exist."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from hilum.encoders.decoders.pyramid import PyramidDecoder

CHANNELS, STRIDES = (4, 8, 16), ((1, 1, 1), (2, 2, 2), (4, 4, 2))


def pyramid() -> list[torch.Tensor]:
    return [
        torch.randn(2, c, 8 // s[0], 4 // s[1], 12 // s[2])
        for c, s in zip(CHANNELS, STRIDES, strict=True)
    ]


def test_outputs_grow_coarser_with_deep_supervision() -> None:
    outputs = PyramidDecoder(CHANNELS, STRIDES, 2)(pyramid())
    assert [tuple(x.shape) for x in outputs] == [(2, 2, 8, 4, 12), (2, 2, 4, 2, 6)]


def test_one_output_and_no_idle_head_without_it() -> None:
    decoder = PyramidDecoder(CHANNELS, STRIDES, 2, deep_supervision=False)
    (output,) = decoder(pyramid())
    output.sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_an_empty_network_predicts_the_prior() -> None:
    decoder = PyramidDecoder(CHANNELS, STRIDES, 2, prior=0.01)
    for head in decoder.heads:
        head.weight.data.zero_()  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue, reportOptionalMemberAccess]
    share = decoder(pyramid())[0].softmax(1)[:, 1]
    assert_close(share, torch.full_like(share, 0.01))


def test_a_first_stride_above_one_is_brought_to_full_resolution() -> None:
    strides = tuple((2 * a, 2 * b, 2 * c) for a, b, c in STRIDES)
    outputs = PyramidDecoder(CHANNELS, strides, 2)(pyramid())
    assert outputs[0].shape == (2, 2, 16, 8, 24)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_prior_is_the_share_of_each_class(classes: int) -> None:
    decoder = PyramidDecoder(CHANNELS, STRIDES, classes, prior=0.002)
    for head in decoder.heads:
        share = head.bias.softmax(0)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        assert_close(share[1:], torch.full((classes - 1,), 0.002))


@pytest.mark.parametrize(
    ("levels", "classes", "prior", "message"),
    [(1, 2, 0.01, "two levels"), (3, 2, 1.0, "leave a background"), (3, 5, 0.3, "a background")],
)
def test_what_cannot_be_decoded_is_refused(
    levels: int, classes: int, prior: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidDecoder(CHANNELS[:levels], STRIDES[:levels], classes, prior=prior)
