"""The viewer answers on this machine alone, and gives nothing but its cases."""

from __future__ import annotations

import http.client
import io
import json
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from hilum.core.errors import DataError, SettingsError
from hilum.core.geometry import Grid
from hilum.evaluation.viewer.case import Layer, Shown, mark
from hilum.evaluation.viewer.server import Gallery, make_server

GRID = Grid.from_spacing((3, 4, 5), (3.0, 2.0, 1.5))
CT = np.arange(60, dtype=np.float32).reshape(3, 4, 5) * 7 - 160
opened: list[str] = []


def case() -> Shown:
    opened.append("a")
    mask = np.zeros(GRID.shape, np.uint8)
    mask[1, 1:3, 2:4] = 1
    layer = Layer("ct", "HU", (-160, 240), lambda depth: CT[depth])
    return Shown("a", GRID, [layer], {"prediction": mark(mask, GRID)})


def broken() -> Shown:
    raise DataError("no such ct file", case="b", file="ct.nii.gz")


@pytest.fixture
def address() -> Iterator[str]:
    server, url = make_server(Gallery("a & b", {"a": case, "b": broken}, {"a": "1 node"}))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def ask(address: str, path: str, host: str | None = None) -> tuple[int, str, bytes]:
    """Ask for a path below the secret, exactly as it is written; from the root if it has a /."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    target = path if path.startswith("/") else parts.path + path
    connection.putrequest("GET", target, skip_host=True)
    connection.putheader("Host", host or parts.netloc)
    connection.endheaders()
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, answer.getheader("Content-Type") or "", body


def test_page_list_case_slice_and_contours_are_served(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")
    status, kind, body = ask(address, "")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"<title>a &amp; b</title>" in body
    _, _, body = ask(address, "cases.json")
    assert json.loads(body)["cases"] == [
        {"id": "a", "about": "1 node"},
        {"id": "b", "about": ""},
    ]
    _, _, body = ask(address, "0/case.json")
    assert json.loads(body)["shape"] == [3, 4, 5]
    status, kind, body = ask(address, "0/slice/ct/2.png?ct=-160,240")
    assert (status, kind) == (200, "image/png")
    expected = np.round(np.clip((CT[2] + 160) / 400, 0, 1) * 255)[::-1, ::-1]
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(body))), expected)
    _, _, body = ask(address, "0/contours/1.json")
    assert sorted(json.loads(body)["prediction"]["1"]) == sorted(
        [[3, 3, 1, 3], [3, 1, 1, 1], [3, 3, 3, 1], [1, 3, 1, 1]]
    )


def test_a_case_is_read_once_however_often_it_is_asked_for(address: str) -> None:
    opened.clear()
    for _ in range(3):
        ask(address, "0/case.json")
        ask(address, "0/slice/ct/1.png")
    assert opened == ["a"]


def test_a_case_that_cannot_be_read_says_why(address: str) -> None:
    status, kind, body = ask(address, "1/case.json")
    assert (status, kind) == (422, "application/json")
    assert json.loads(body)["error"] == "case b: ct.nii.gz: no such ct file"


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "//etc/passwd", "/",
        "/cases.json", "/../cases.json", "0/../0/case.json", "0/slice/../1.png",
        "0/slice/ct/../../../../etc/passwd", "0/slice/%2e%2e/1.png", "0/slice/ct/3.png",
        "0/slice/ct/-1.png", "0/slice/ct/1", "0/slice/ct/%C2%B2.png", "0/slice/fused/1.png",
        "0/slice/pet/1.png", "0/slice/ct/1.png?ct=a,b", "0/slice/ct/1.png?ct=nan,inf",
        "0/contours/9.json", "2/case.json", "-1/case.json", "a/case.json", "0/case.json/",
        "http://[/", "0", "/static/../../pyproject.toml",
    ],
)  # fmt: skip
def test_nothing_else_is_there(address: str, path: str) -> None:
    status, _, body = ask(address, path)
    assert (status, body) == (404, b"nothing here\n")


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_name_for_this_machine_is_turned_away(address: str, host: str) -> None:
    assert ask(address, "cases.json", host or "x")[0] == 404
    assert ask(address, "cases.json", "localhost:1234")[0] == 200


def test_a_taken_port_is_one_clear_error() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SettingsError, match=r"port must be free.*choose another"):
            make_server(Gallery("t", {}), other.getsockname()[1])


def test_two_viewers_have_two_secrets_and_only_loopback_listens() -> None:
    (one, first), (two, second) = make_server(Gallery("t", {})), make_server(Gallery("t", {}))
    try:
        assert urlsplit(first).path != urlsplit(second).path
        assert one.server_address[0] == two.server_address[0] == "127.0.0.1"
    finally:
        one.server_close()
        two.server_close()
