"""A headless Chromium for the tests of pages that one works with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
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


class Browser:
    """A headless Chromium, spoken to through pipes, with one page."""

    def __init__(self, folder: Path, url: str) -> None:
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
        self.count, self.rest, self.session = 0, b"", ""
        targets = self.ask("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.ask("Page.enable")
        self.ask("Page.navigate", url=url)

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        message |= {"sessionId": self.session} if self.session else {}
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
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
