"""Give every method of ours to the checks of its contract."""

from __future__ import annotations

import pytest

from hilum.contracts.run import TABLES

pytest.register_assert_rewrite(
    *(f"hilum.contracts.{kind}" for kind in TABLES),
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a check on each entry of its table."""
    table = getattr(metafunc.module, "TABLE", None)
    if table is not None and "name" in metafunc.fixturenames:
        metafunc.parametrize("name", getattr(metafunc.module, "NAMES", list(table.ours)))
