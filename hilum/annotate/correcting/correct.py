"""Serve proposals to be corrected in a browser on this machine: `hilum view --correct`."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from shlex import quote
from threading import Lock
from typing import Any

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_object, write_json
from hilum.core.geometry import Grid
from hilum.core.outputs import check_output
from hilum.core.outputs import mark as mark_folder
from hilum.datasets.io.boxes import box_of
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.manifest import read_manifest
from hilum.evaluation.metrics.node_record import NodeRecord
from hilum.evaluation.metrics.nodes import node_table
from hilum.evaluation.viewer.case import Marked, Shown, mark
from hilum.evaluation.viewer.server import Gallery, make_server
from hilum.segmenter.prediction.viewing import Found, show

from ..formats.slicer import COMPLETED, Segment, read_segmentation, write_segmentation
from ..proposing.record import Proposal, proposals_in
from ..taking.versions import check_rater
from .editor import Editor, Piece

OWNER = "view --correct"
NOT_LOOKED_AT = "flagged"
"""Status of what nobody has decided about yet: in need of attention."""
ACTIONS = ("accept", "reject", "grow", "shrink", "add", "undo")


class Corrections:
    """The editors of all cases, and where they are saved. Final.

    Args:
        proposals: By case.
        cases: Their scans.
        out: Where a `.seg.nrrd` of each case is saved after every step.
        rater: Who corrects.
    """

    def __init__(
        self, proposals: Mapping[str, Proposal], cases: Mapping[str, Case], out: Path, rater: str
    ) -> None:
        self.proposals, self.cases, self.out, self.rater = proposals, cases, out, rater
        self.editors: dict[str, Editor] = {}
        self.scans: dict[str, Shown] = {}
        self.lock = Lock()

    def shown(self, case: str) -> Shown:
        """Return a case as it stands."""
        with self.lock:
            return self._shown(case)

    def act(self, case: str, asked: Mapping[str, Any]) -> Shown:
        """Do what a reader asks for, save it, and return the case as it stands.

        Raises:
            DataError: If it is no action, or cannot be done.
        """
        with self.lock:
            editor = self._editor(case)
            what, node = asked.get("what"), asked.get("node")
            if what not in ACTIONS:
                raise DataError(f"an action must be one of {', '.join(ACTIONS)}", case=case)
            if what == "undo":
                editor.undo()
            elif what == "add":
                editor.add(_place(asked.get("place"), case))
            elif isinstance(node, int) and not isinstance(node, bool):
                getattr(editor, what)(node)
            else:
                raise DataError("choose a node first", case=case, remedy="click on one")
            mark_folder(self.out, OWNER)
            save(editor, self.proposals[case], self.out, self.rater)
            return self._shown(case)

    def _editor(self, case: str) -> Editor:
        if case not in self.editors:
            self.editors[case] = editor_of(self.proposals[case], self.out)
        return self.editors[case]

    def _shown(self, case: str) -> Shown:
        editor, proposal = self._editor(case), self.proposals[case]
        if case not in self.scans:
            # One case's scans at a time.
            self.scans = {case: show(Found(self.cases[case], proposal.mask_of_proposal))}
        rows = [_row(editor, number) for number in editor.pieces]
        marked = {"prediction": _marked(editor)}
        return replace(self.scans[case], marked=marked, nodes=rows, partners={}, missed=())


def correct(
    proposals: str | Path,
    manifest: str | Path,
    *,
    rater: str,
    out: str | Path | None = None,
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Let somebody correct proposals in a browser until it is interrupted.

    Every step is saved at once: `<case>.seg.nrrd` with a segment per node (accepted ones are
    *Completed*, undecided ones *Flagged*, rejected ones gone) and `<case>.json` with who, when and
    each step. `hilum annotate take` makes labels of them.

    Args:
        proposals: What `hilum annotate propose` wrote.
        manifest: Names the scans.
        rater: Who corrects.
        out: Where to save; `<proposals>_<rater>` if not given. Goes on where it was.
        port: Of the page on the loopback address; 0 takes a free one.
        browser: Whether to open it.
        say: Gets the address.
    """
    server, url = make_server(gallery(proposals, manifest, rater, out), port)
    place = _out(proposals, rater, out)
    try:
        say(f"{url} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(url)
        server.serve_forever()
    except KeyboardInterrupt:
        a, b, c, d = map(quote, (str(place), str(manifest), str(proposals), rater))
        say(f"corrections are in {a}; hilum annotate take {a} {b} --proposals {c} --rater {d}")
    finally:
        server.server_close()


def gallery(
    proposals: str | Path, manifest: str | Path, rater: str, out: str | Path | None = None
) -> Gallery:
    """Return the cases to correct; none is read yet.

    Raises:
        DataError: If there are no proposals, or the manifest lacks their cases.
        RunError: If the folder for corrections holds something else.
    """
    rater = check_rater(rater)
    known, cases = proposals_in(proposals), {c.id: c for c in read_manifest(manifest)}
    if missing := [name for name in known if name not in cases]:
        raise DataError(
            "the manifest must have every proposed case", file=manifest, found=missing[0]
        )
    place = _out(proposals, rater, out)
    check_output(place, OWNER, inputs=[proposals])
    both = Corrections(known, cases, place, rater)
    return Gallery(
        f"{rater} corrects {Path(proposals).resolve().name}",
        {name: partial(both.shown, name) for name in known},
        {name: f"{len(one.nodes)} proposals" for name, one in known.items()},
        both.act,
    )


def editor_of(proposal: Proposal, out: Path) -> Editor:
    """Return the editor of a case, as it was saved, or as it was proposed."""
    grid, axes, flips = proposal.grid.canonical()
    over = tuple(axis for axis in range(3) if flips[axis])

    def turned(array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.flip(array.transpose(axes), over))

    file = proposal.folder / f"{proposal.case}_probability.nii.gz"
    probability = turned(read_volume(file, proposal.case).array)
    classes = turned(read_label(proposal.mask_of_proposal, proposal.case).array)
    nodes = [NodeRecord.from_row(row) for row in proposal.nodes]
    found = mark(classes, grid, nodes)
    labels = np.zeros(grid.shape, np.uint16)
    box = tuple(slice(a, a + n) for a, n in zip(found.start, found.labels.shape, strict=True))
    labels[box] = found.labels
    pieces = {
        number: _piece(labels == number, probability, int(classes[labels == number][0]))
        for number in range(1, int(labels.max(initial=0)) + 1)
    }
    editor = Editor(proposal.case, grid, probability, labels, pieces)
    _go_on(editor, out)
    return editor


def save(editor: Editor, proposal: Proposal, out: Path, rater: str) -> None:
    """Write the segmentation of a case and the record of its steps."""
    segments = [
        Segment(
            f"{number} {proposal.names[piece.value - 1]}",
            COMPLETED if piece.accepted else NOT_LOOKED_AT,
            piece.value,
            number=number,
            colour=(0.2, 0.8, 0.3) if piece.accepted else (0.9, 0.6, 0.1),
        )
        for number, piece in editor.pieces.items()
    ]
    path = out / f"{editor.case}.seg.nrrd"
    if not editor.labels.any():
        write_segmentation(path, np.zeros((1, 1, 1), np.uint16), editor.grid, [])
    else:
        start, stop = box_of(editor.labels > 0)
        d, h, w = (b - a for a, b in zip(start, stop, strict=True))
        cut = editor.labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        around = editor.grid.crop((start[0], start[1], start[2]), (d, h, w))
        write_segmentation(path, cut, around, segments)
    write_json(
        out / f"{editor.case}.json",
        {
            "case": editor.case,
            "rater": rater,
            "saved": datetime.now(UTC).isoformat(timespec="seconds"),
            "proposal": {**proposal.by, "mask": proposal.mask, "made": proposal.made},
            "rejected": editor.rejected,
            "pieces": {str(n): vars(piece) for n, piece in editor.pieces.items()},
            "steps": editor.done,
        },
    )


def _go_on(editor: Editor, out: Path) -> None:
    """Bring an editor to what was saved."""
    file, record = out / f"{editor.case}.seg.nrrd", out / f"{editor.case}.json"
    if not file.is_file() or not record.is_file():
        return
    about = read_object(record)
    try:
        pieces = {
            int(n): Piece(**{**piece, "seed": tuple(piece["seed"])})
            for n, piece in about["pieces"].items()
        }
        rejected, done = list(about["rejected"]), list(about["steps"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        rule = "what is said of a correction must be as it was written"
        remedy = "move it and the mask beside it away to correct the case anew"
        raise DataError(rule, file=record, found=error, remedy=remedy) from None
    found = read_segmentation(file, editor.case)
    editor.labels[:] = 0
    if not found.empty:
        start = np.round(editor.grid.to_index(found.grid.to_world((0, 0, 0)))).astype(int)
        sides = found.layers.shape[1:]
        box = tuple(slice(int(a), int(a) + n) for a, n in zip(start, sides, strict=True))
        editor.labels[box] = found.layers[0]
    editor.pieces, editor.rejected, editor.done = pieces, rejected, done


def _piece(own: np.ndarray, probability: np.ndarray, value: int) -> Piece:
    inside = np.where(own, probability, -1)
    d, h, w = (int(n) for n in np.unravel_index(np.argmax(inside), own.shape))
    return Piece(value, (d, h, w), max(float(probability[own].min()), 0.005))


def _marked(editor: Editor) -> Marked:
    if not editor.labels.any():
        return Marked(np.zeros((0, 0, 0), np.uint16), (0, 0, 0))
    start, stop = box_of(editor.labels > 0)
    cut = editor.labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
    return Marked(cut, (start[0], start[1], start[2]))


def _row(editor: Editor, number: int) -> NodeRecord:
    """Return the line of a node in the table."""
    own = editor.labels == number
    start, stop = box_of(own)
    box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    d, h, w = own[box].shape
    around: Grid = editor.grid.crop((start[0], start[1], start[2]), (d, h, w))
    piece = editor.pieces[number]
    # Parts that touch at no corner any more are one node all the same: the largest is measured.
    node = node_table(own[box], around)[0]
    inside = editor.probability[box][own[box]]
    return replace(
        node,
        id=number,
        label=piece.value,
        probability=round(float(inside.mean()), 4),
        status="accepted" if piece.accepted else "to decide",
    )


def _place(value: Any, case: str) -> tuple[int, int, int]:
    whole = isinstance(value, list) and len(value) == 3
    if not whole or not all(isinstance(n, int) and not isinstance(n, bool) for n in value):
        raise DataError("a place must be three whole numbers", case=case, remedy="click again")
    return value[0], value[1], value[2]


def _out(proposals: str | Path, rater: str, out: str | Path | None) -> Path:
    place = Path(proposals).resolve() if Path(proposals).name in ("", "..") else Path(proposals)
    if out is not None and Path(out).resolve() == place.resolve():
        raise SettingsError("corrections must lie beside the proposals, not among them", file=out)
    return place.with_name(f"{place.name}_{rater}") if out is None else Path(out)
