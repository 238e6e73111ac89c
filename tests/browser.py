"""Pages of a headless Chromium for the tests of what one works with."""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import subprocess
import tempfile
import time
from typing import Any

CHROMIUM = next(
    (
        found
        for n in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(n))
    ),
    "",
)
"""The browser, or nothing where there is none."""


class Chromium:
    """A headless Chromium, spoken to through pipes."""

    def __init__(self, folder: str) -> None:
        theirs, self.to = os.pipe()
        self.back, answers = os.pipe()
        command = [
            CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--remote-debugging-pipe", "--window-size=1400,900", f"--user-data-dir={folder}",
            "--disable-background-networking", "--hide-scrollbars", "--disable-dev-shm-usage",
            "about:blank",
        ]  # fmt: skip
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{answers}', "bash", *command]
        self.process = subprocess.Popen(
            shell, pass_fds=(theirs, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs)
        os.close(answers)
        self.count, self.rest = 0, b""

    def ask(self, method: str, session: str, params: dict[str, object]) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        message |= {"sessionId": session} if session else {}
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self.rest:
                part = os.read(self.back, 1 << 16)
                assert part, "the browser has ended"
                self.rest += part
            text, _, self.rest = self.rest.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@functools.cache
def chromium() -> Chromium:
    """Start the browser of all tests of this process, which takes longer than a test."""
    folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
    browser = Chromium(folder.name)

    def end() -> None:
        browser.end()
        folder.cleanup()

    atexit.register(end)
    return browser


class Browser:
    """A page with a profile of its own, as in a browser that was never used before."""

    def __init__(self, url: str) -> None:
        self.session = ""
        self.profile = self.ask("Target.createBrowserContext")["browserContextId"]
        new = {"url": "about:blank", "browserContextId": self.profile}
        page = self.ask("Target.createTarget", width=1400, height=900, **new)["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.ask("Page.enable")
        self.ask("Page.navigate", url=url)

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        return chromium().ask(method, self.session, params)

    def value(self, expression: str) -> Any:
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str, wanted: object) -> None:
        until = time.monotonic() + 30
        while (found := self.value(expression)) != wanted:
            assert time.monotonic() < until, f"{expression} is {found!r}, not {wanted!r}"
            time.sleep(0.05)

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def mouse(self, kind: str, selector: str, **more: object) -> None:
        box = self.value(
            "(e => {e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]})"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], **more)

    def click(self, selector: str, **more: object) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, selector, button="left", clickCount=1, **more)

    def end(self) -> None:
        self.session = ""
        self.ask("Target.disposeBrowserContext", browserContextId=self.profile)
