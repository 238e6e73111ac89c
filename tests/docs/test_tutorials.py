"""Pages whose commands anyone may paste run as they stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from .pages import DOCS, execute

PAGES = [DOCS / "get-started.md", *sorted((DOCS / "tutorials").glob("*.md"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_cell_of_a_page_runs(page: Path, tmp_path: Path) -> None:
    execute(page, tmp_path)
