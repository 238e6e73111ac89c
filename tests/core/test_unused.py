"""What does nothing is named once, with its first reason; a default is never named."""

from __future__ import annotations

from pydantic import Field

from hilum.core.settings import Settings, validate
from hilum.core.unused import given, unused


class Inner(Settings):
    """A group."""

    weight: float = Field(0.0, description="weight")
    ramp: float = Field(0.4, description="ramp")


class Outer(Settings):
    """Settings with a group whose default is not the group's own."""

    store: str = Field(description="place")
    seed: int = Field(0, description="seed")
    inner: Inner = Field(default_factory=lambda: validate(Inner, {"ramp": 0.5}), description="part")


def test_given_is_what_differs_from_the_default_of_its_group() -> None:
    assert given(validate(Outer, {"store": "s"})) == ["store"]
    asked = validate(Outer, {"store": "s", "seed": 0, "inner": {"weight": 0, "ramp": 0.4}})
    assert given(asked) == ["store", "inner.ramp"], "0.5 is the default there"


def test_each_is_named_once_with_the_first_reason_that_holds() -> None:
    asked = validate(Outer, {"store": "s", "seed": 1, "inner": {"weight": 1, "ramp": 0.1}})
    rules = [
        (False, ("seed",), "never"),
        (True, ("inner",), "first"),
        (True, ("inner.ramp", "seed", "see"), "second"),
    ]
    assert [str(one) for one in unused(asked, rules)] == [
        "inner.weight, inner.ramp do nothing: first",
        "seed does nothing: second",
    ]
