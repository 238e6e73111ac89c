"""The round of the tests of `take`: proposals for two cases."""

from __future__ import annotations

from ..taking.conftest import first_round, loop  # noqa: F401
