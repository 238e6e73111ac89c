"""The round of the tests of `take`: a store in which two of four patients have labels."""

from __future__ import annotations

from ..taking.conftest import first_round, loop  # noqa: F401
