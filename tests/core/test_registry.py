"""A spec builds its component, and a slip is answered with the nearest name."""

from __future__ import annotations

import pytest

from hilum.core.errors import SettingsError
from hilum.core.registry import build


class Block:
    """A toy component."""

    def __init__(self, *, channels: int, heads: int = 2) -> None:
        self.channels, self.heads = channels, heads


TABLE = {"block": Block}


def test_the_run_gives_what_the_spec_does_not() -> None:
    block = build(TABLE, {"name": "block", "heads": 4}, channels=3, unused=1)
    assert (block.channels, block.heads) == (3, 4)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "blok"}, "unknown name 'blok', did you mean 'block'"),
        ({"heads": 1}, "need the name .* found heads; add name: one of block"),
        ({"name": "block", "head": 1}, "'block' has no 'head', did you mean 'heads'"),
        ({"name": "block", "channels": 1}, "'block' has no 'channels'"),
    ],
)
def test_a_slip_is_answered(spec: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        build(TABLE, spec, channels=3)
