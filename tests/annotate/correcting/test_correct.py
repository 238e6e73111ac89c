"""Corrections in the viewer are saved at every step, and become labels."""

from __future__ import annotations

import http.client
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from hilum.annotate.correcting.correct import correct, gallery
from hilum.annotate.formats.slicer import read_segmentation
from hilum.core.errors import DataError, RunError, UserError
from hilum.core.files import read_json
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.evaluation.viewer.case import describe
from hilum.evaluation.viewer.server import make_server

from ...browser import CHROMIUM, Browser
from ..taking.conftest import Loop


def act(loop: Loop, *steps: dict[str, Any]) -> Any:
    found = gallery(loop.proposals, loop.manifest, "ana", loop.back)
    shown = None
    for step in steps:
        shown = found.change(0, step)
    return found, shown


def test_an_accepted_node_is_a_label_and_a_rejected_one_background(loop: Loop) -> None:
    number = gallery(loop.proposals, loop.manifest, "ana", loop.back).open(0).nodes[0].id
    proposed = loop.proposed()
    act(loop, {"what": "accept", "node": number})
    found = loop.take()
    label = loop.label()
    assert label is not None
    np.testing.assert_array_equal(read_label(label).array == 1, proposed == 1)
    assert set(found.labels["case_0"].statuses.values()) == {"completed"}
    act(loop, {"what": "reject", "node": number})
    assert read_segmentation(loop.back / "case_0.seg.nrrd").empty
    assert loop.take().empty == ["case_0"]


def test_what_nobody_decided_about_is_unknown(loop: Loop) -> None:
    """A node is added at the foot of the hill of the first; the first itself stays undecided."""
    found = gallery(loop.proposals, loop.manifest, "ana", loop.back)
    proposed, number = loop.proposed(), int(found.open(0).nodes[0].id)
    file = loop.proposals / "case_0" / "case_0_probability.nii.gz"
    free = np.where(proposed > 0, 0, read_volume(file).array)
    place = [int(n) for n in np.unravel_index(np.argmax(free), free.shape)]
    found.change(0, {"what": "add", "place": place})
    assert list(loop.take().labels) == ["case_0"]
    label = loop.label()
    assert label is not None
    array = read_label(label).array
    assert array[tuple(place)] == 1
    assert (array[proposed == number] == 255).all()
    assert (array == 255).sum() > (proposed > 0).sum(), "the rest of the body is unknown, too"


def test_steps_are_kept_and_a_new_viewer_goes_on(loop: Loop) -> None:
    found, _ = act(loop)
    number = found.open(0).nodes[0].id
    _, shown = act(loop, {"what": "grow", "node": number}, {"what": "grow", "node": number})
    about = read_json(loop.back / "case_0.json")
    assert (about["rater"], [step["what"] for step in about["steps"]]) == ("ana", ["grow", "grow"])
    assert about["proposal"]["identity"]
    again = gallery(loop.proposals, loop.manifest, "ana", loop.back).open(0)
    assert describe(again) == describe(shown)
    assert again.nodes[0].status == "accepted"
    np.testing.assert_array_equal(
        again.marked["prediction"].labels, shown.marked["prediction"].labels
    )


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"what": "save"}, "must be one of accept"),
    "a method": ({"what": "_keep", "node": 1}, "must be one of accept"),
    "no node": ({"what": "accept"}, "choose a node first"),
    "no number": ({"what": "accept", "node": "1"}, "choose a node first"),
    "no place": ({"what": "add", "place": [1, 2]}, "three whole numbers"),
    "half a place": ({"what": "add", "place": [1, 2, 2.5]}, "three whole numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_action_is_refused_and_nothing_saved(name: str, loop: Loop) -> None:
    asked, message = BAD[name]
    with pytest.raises(DataError, match=message):
        act(loop, asked)
    assert not list(loop.back.iterdir())


def test_corrections_go_into_their_own_folder_only(loop: Loop, tmp_path: Path) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.tex").write_text("three years")
    with pytest.raises(RunError, match="new or empty folder"):
        gallery(loop.proposals, loop.manifest, "ana", other)
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


def test_corrections_never_lie_among_the_proposals(loop: Loop) -> None:
    with pytest.raises(UserError, match="beside the proposals"):
        correct(loop.proposals, loop.manifest, rater="ana", out=loop.proposals)


def test_the_call_that_is_printed_can_be_pasted(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proposals are in the folder that we are in, and the name has a space."""
    monkeypatch.chdir(loop.proposals)
    monkeypatch.setattr("socketserver.BaseServer.serve_forever", _interrupt)
    said: list[str] = []
    correct(".", loop.manifest, rater="A. Example", browser=False, say=said.append)
    words = shlex.split(said[-1].partition("; ")[2])
    place = loop.proposals.with_name(f"{loop.proposals.name}_A. Example")
    assert words[:3] == ["hilum", "annotate", "take"]
    assert words[3:5] == [str(place), str(loop.manifest)]
    assert words[5:] == ["--proposals", ".", "--rater", "A. Example"]


def _interrupt(server: object) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def served(loop: Loop) -> Iterator[str]:
    server, url = make_server(gallery(loop.proposals, loop.manifest, "ana", loop.back))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


GOOD = {"Content-Type": "application/json"}
REQUESTS: dict[str, tuple[str, dict[str, str], bytes, int]] = {
    "plain": ("act", GOOD, b'{"what": "undo"}', 422),
    "another page": ("act", GOOD | {"Origin": "http://evil.example"}, b'{"what": "undo"}', 400),
    "a form": ("act", {"Content-Type": "text/plain"}, b'{"what": "undo"}', 400),
    "another name": ("act", GOOD | {"Host": "evil.example"}, b'{"what": "undo"}', 404),
    "too long": ("act", GOOD, b" " * 5000, 400),
    "no json": ("act", GOOD, b"{", 400),
    "a list": ("act", GOOD, b"[]", 400),
    "elsewhere": ("case.json", GOOD, b"{}", 404),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_only_our_own_page_can_change_anything(name: str, served: str, loop: Loop) -> None:
    path, headers, body, want = REQUESTS[name]
    parts = urlsplit(served)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    connection.request("POST", f"{parts.path}0/{path}", body, headers)
    assert connection.getresponse().status == want
    connection.close()
    other = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    other.request("POST", f"/guess/0/{path}", body, GOOD)
    assert other.getresponse().status in (400, 404)
    other.close()
    assert not list(loop.back.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here")
def test_a_reader_corrects_with_keys_buttons_and_clicks(served: str, loop: Loop) -> None:
    browser = Browser(served)
    try:
        status = "document.querySelector('tr[aria-selected=true]')?.dataset.node ?? 'none'"
        count = "document.querySelectorAll('#nodes tbody tr').length"
        text = "document.querySelector('#nodes tbody').textContent"
        browser.wait("document.body?.dataset.drawn !== undefined", True)
        assert browser.value("document.getElementById('edit').hidden") is False
        nodes = browser.value(count)
        assert nodes >= 1
        assert "to decide" in browser.value(text)
        browser.press("+")
        browser.wait(f"{text}.includes('accepted')", True)
        grown = read_segmentation(loop.back / "case_0.seg.nrrd")
        assert (grown.layers > 0).sum() >= (loop.proposed() > 0).sum()
        browser.press("u")
        browser.wait(f"{text}.includes('accepted')", False)
        browser.press("x")
        browser.wait(count, nodes - 1)
        browser.click("#edit button[data-what=undo]")
        browser.wait(count, nodes)
        browser.click("#nodes tbody tr")
        browser.wait(status, "1")
        browser.press("x")
        browser.wait(count, nodes - 1)
        # A click with Shift on the place of the node that was rejected adds it again.
        place = _peak(loop)
        browser.value(f"go({place[0]})")
        browser.value(f"act('add', {{place: {list(place)}}})")
        browser.wait(count, nodes)
        steps = [step["what"] for step in read_json(loop.back / "case_0.json")["steps"]]
        assert steps == ["grow", "undo", "reject", "undo", "reject", "add"]
        browser.click("canvas", modifiers=8)
        said = "document.getElementById('message').textContent !== ''"
        browser.wait(f"{said} || {count} > {nodes}", True)
        # A click tells the voxel that is under it.
        middle = browser.value(
            "(c => {const b = c.getBoundingClientRect(); return pointed({clientX: b.x + b.width"
            " * .25, clientY: b.y + b.height * .25}, c)})(document.querySelector('canvas'))"
        )
        left, top, right, bottom = browser.value("box()")
        _, height, width = browser.value("S.info.shape")
        assert middle[1] == height - 1 - int(top + 0.25 * (bottom - top))
        assert middle[2] == width - 1 - int(left + 0.25 * (right - left))
    finally:
        browser.end()


def _peak(loop: Loop) -> tuple[int, int, int]:
    found = read_volume(loop.proposals / "case_0" / "case_0_probability.nii.gz").array
    d, h, w = np.unravel_index(np.argmax(np.where(loop.proposed() > 0, found, 0)), found.shape)
    return int(d), int(h), int(w)
