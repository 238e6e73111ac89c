"""Types and shapes are checked while tests run, of arguments and of results."""

from __future__ import annotations

import functools

import jaxtyping
import pytest
import torch
from beartype import BeartypeConf, beartype

from hilum.core.notes import Note
from hilum.core.types import Available, Volume

CHECK = functools.partial(beartype, conf=BeartypeConf(violation_type=TypeError))


def shrink(image: Volume, available: Available) -> Volume:
    return image[0] if image.shape[-1] == 1 else image


def count(number: int) -> str:
    return "two" if number == 2 else number  # pyright: ignore[reportReturnType]


def test_functions_of_the_package_refuse_other_types() -> None:
    with pytest.raises(TypeError, match=r"Note\.from_json"):
        Note.from_json(1)  # pyright: ignore[reportArgumentType]


def test_arrays_of_another_shape_are_refused_on_the_way_in_and_out() -> None:
    checked = jaxtyping.jaxtyped(shrink, typechecker=CHECK)
    image, available = torch.zeros(2, 1, 3, 3, 3), torch.ones(2, 2, dtype=torch.bool)
    assert checked(image, available) is image
    for wrong in (image[0], image[:1]):
        with pytest.raises(TypeError):
            checked(wrong, available)
    with pytest.raises(TypeError):
        checked(image[..., :1], available)


def test_results_of_another_type_are_refused() -> None:
    checked = jaxtyping.jaxtyped(count, typechecker=CHECK)
    assert checked(2) == "two"
    with pytest.raises(TypeError):
        checked(3)
    with pytest.raises(TypeError):
        checked("2")  # pyright: ignore[reportArgumentType]
