"""Serve the viewer's page on this machine alone: loopback, behind a secret path.

Nothing can be written but by what a gallery lets its own page ask for.

No part of an address is ever a path on disk: cases go by number, layers by name.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

from hilum.core.errors import SettingsError, UserError

from ..html.rendering import render
from .case import Shown, Window, describe, slice_png
from .contours import contours

HOST = "127.0.0.1"
MOST_BYTES = 4096
"""Of a request that asks for a change."""
Answer = tuple[str, bytes]
"""Content type and content."""


class NotThere(Exception):  # noqa: N818 - an answer to the browser, not a failure
    """Nothing lies at an address."""


@dataclass
class Gallery:
    """The cases of a viewer; the one that is looked at is kept in memory.

    Attributes:
        title: Of the page.
        cases: By id, what reads a case.
        about: By id, a few words for the list.
        act: Does what the page asks for with a case, by its id, and gives the case as it is then;
            nothing where cases are only looked at.
    """

    title: str
    cases: Mapping[str, Callable[[], Shown]]
    about: Mapping[str, str] = field(default_factory=dict)
    act: Callable[[str, Mapping[str, Any]], Shown] | None = None
    _lock: Lock = field(default_factory=Lock)
    _last: tuple[int, Shown] | None = None

    def listing(self) -> dict[str, object]:
        """Return title and cases, for JSON."""
        rows = [{"id": name, "about": self.about.get(name, "")} for name in self.cases]
        return {"title": self.title, "cases": rows}

    def open(self, index: int) -> Shown:
        """Return a case by its number."""
        # Many slices are asked for at once: the case is read by the first, and waited for.
        with self._lock:
            if self._last is None or self._last[0] != index:
                self._last = None
                self._last = (index, list(self.cases.values())[index]())
            return self._last[1]

    def change(self, index: int, asked: Mapping[str, Any]) -> Shown:
        """Do what the page asks for with a case."""
        if self.act is None:
            raise NotThere
        with self._lock:
            self._last = (index, self.act(list(self.cases)[index], asked))
            return self._last[1]


def make_server(gallery: Gallery, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """Return a server on the loopback address, which listens already, and the address of its page.

    Args:
        gallery: What there is to see.
        port: To listen on; 0 takes a free one.

    Raises:
        SettingsError: If the port is taken or not allowed.
    """
    # Other users of the machine reach loopback, too: only who knows the path sees scans.
    secret = secrets.token_urlsafe(16)
    server = ThreadingHTTPServer((HOST, port), partial(_Handler, gallery, secret), False)
    # Another viewer on the same port must be an error, not a thief of its requests.
    server.allow_reuse_port = False
    try:
        server.server_bind()
        server.server_activate()
    except (OSError, OverflowError) as error:
        server.server_close()
        raise SettingsError(
            "the port must be free",
            found=f"{port}: {error}",
            remedy="choose another, or leave it out for any free one",
        ) from error
    return server, f"http://{HOST}:{server.server_port}/{secret}/"


class _Handler(BaseHTTPRequestHandler):
    """Answers requests for what `respond` knows and `act` can do.

    Args:
        gallery: What there is to see.
        secret: First part of each path.
        *request: From the server.
    """

    server_version, sys_version = "hilum", ""
    protocol_version = "HTTP/1.1"

    def __init__(self, gallery: Gallery, secret: str, *request: Any) -> None:
        self.gallery, self.secret = gallery, secret
        super().__init__(*request)

    def do_GET(self) -> None:
        """Answer with the page, JSON or a picture."""
        self._answer(lambda path, query: respond(self.gallery, path, query))

    def do_POST(self) -> None:
        """Do what the page asks for, where the gallery lets it."""
        try:
            asked = self._asked()
        except ValueError:
            self._send(HTTPStatus.BAD_REQUEST, "text/plain; charset=utf-8", b"not understood\n")
            # What is left of the request must not be read as the next one.
            self.close_connection = True
            return
        self._answer(lambda path, query: act(self.gallery, path, asked))

    def _asked(self) -> dict[str, Any]:
        """Return the JSON of a request, which only our own page can send."""
        length = self.headers.get("Content-Length") or ""
        # A form of another page cannot say that it is JSON without asking first.
        plain = (self.headers.get("Content-Type") or "").split(";")[0].strip()
        own = self.headers.get("Origin") in (None, f"http://{self.headers.get('Host')}")
        if not (length.isdigit() and int(length) <= MOST_BYTES and own):
            raise ValueError
        if plain != "application/json":
            raise ValueError
        found = json.loads(self.rfile.read(int(length)))
        if not isinstance(found, dict):
            raise ValueError
        return found

    def _answer(self, answer: Callable[[list[str], dict[str, str]], Answer]) -> None:
        """Send what an address below the secret gives."""
        try:
            if not self._local():
                raise NotThere
            address, _, query = self.path.partition("?")
            secret, _, rest = address.removeprefix("/").partition("/")
            if not secrets.compare_digest(secret.encode(), self.secret.encode()):
                raise NotThere
            kind, body = answer(rest.split("/"), dict(parse_qsl(query)))
            self._send(HTTPStatus.OK, kind, body)
        except NotThere:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", b"nothing here\n")
        except UserError as error:
            body = json.dumps({"error": str(error)}).encode()
            self._send(HTTPStatus.UNPROCESSABLE_ENTITY, "application/json", body)
        except (BrokenPipeError, ConnectionResetError):
            # The reader has gone on to another slice.
            self.close_connection = True

    def _local(self) -> bool:
        """Say whether a page of this server asks: a foreign name that leads here is turned away."""
        name = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        return name in (HOST, "localhost")

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header(
            "Content-Security-Policy",
            "default-src 'self' 'unsafe-inline' data:; frame-ancestors 'none'",
        )
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing: a line for each slice helps nobody."""


def respond(gallery: Gallery, path: Sequence[str], query: Mapping[str, str]) -> Answer:
    """Return what lies at an address below the secret.

    `""` is the page, `cases.json` the list, `<n>/case.json` a case, `<n>/contours/<depth>.json`
    its outlines and `<n>/slice/<layer>/<depth>.png?<layer>=<low>,<high>` a picture.

    Raises:
        NotThere: If nothing does.
        UserError: If the case cannot be read.
    """
    match list(path):
        case [""]:
            return "text/html; charset=utf-8", render(
                "evaluation/viewer/viewer.html.j2", title=gallery.title
            ).encode()
        case ["cases.json"]:
            return _json(gallery.listing())
        case [number, "case.json"]:
            shown = _case(gallery, number)
            return _json({**describe(shown), "editable": gallery.act is not None})
        case [number, "contours", name]:
            shown = _case(gallery, number)
            return _json(contours(shown, _depth(shown, name, ".json")))
        case [number, "slice", layer, name]:
            shown = _case(gallery, number)
            depth = _depth(shown, name, ".png")
            if layer not in [*(one.name for one in shown.layers), "fused" * shown.fused]:
                raise NotThere
            windows = {key: _window(value) for key, value in query.items()}
            return "image/png", slice_png(shown, layer, depth, windows)
    raise NotThere


def act(gallery: Gallery, path: Sequence[str], asked: Mapping[str, Any]) -> Answer:
    """Return the case at `<n>/act` after what was asked for, as `<n>/case.json` gives it.

    Raises:
        NotThere: If there is no such case, or cases are only looked at.
        UserError: If it cannot be done.
    """
    match list(path):
        case [number, "act"]:
            shown = gallery.change(_index(gallery, number), asked)
            return _json({**describe(shown), "editable": True})
    raise NotThere


def _case(gallery: Gallery, number: str) -> Shown:
    return gallery.open(_index(gallery, number))


def _index(gallery: Gallery, number: str) -> int:
    if not (number.isascii() and number.isdigit()) or int(number) >= len(gallery.cases):
        raise NotThere
    return int(number)


def _depth(shown: Shown, name: str, ending: str) -> int:
    number = name.removesuffix(ending)
    if number == name or not (number.isascii() and number.isdigit()):
        raise NotThere
    if int(number) >= shown.grid.shape[0]:
        raise NotThere
    return int(number)


def _window(text: str) -> Window:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise NotThere from None
    if not (abs(low) < 1e9 and abs(high) < 1e9):
        raise NotThere
    return low, high


def _json(value: object) -> Answer:
    return "application/json", json.dumps(value, allow_nan=False, default=str).encode()
