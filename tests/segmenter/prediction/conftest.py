"""The viewer in a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hilum.evaluation.viewer.server import make_server
from hilum.segmenter.prediction.viewing import gallery

from ...browser import Browser


@pytest.fixture
def browse() -> Iterator[Callable[..., Browser]]:
    """Return what shows a folder of masks in a browser."""
    ends: list[Callable[[], object]] = []

    def start(folder: Path, manifest: Path | None = None) -> Browser:
        server, url = make_server(gallery(folder, manifest))
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        ends.extend([server.server_close, thread.join, server.shutdown])
        browser = Browser(url)
        ends.append(browser.end)
        return browser

    yield start
    for end in reversed(ends):
        end()
