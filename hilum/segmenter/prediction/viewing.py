"""Find the masks below a folder with their scans, and show them in a browser on this machine."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.core.geometry import Grid
from hilum.core.modality import modality
from hilum.datasets.io.lattice import place_mask
from hilum.datasets.io.nifti import read_label, read_volume
from hilum.datasets.io.resampling import resample
from hilum.datasets.manifest import read_manifest
from hilum.datasets.raters.reading import label_file, read_case_label
from hilum.datasets.source import stem_of
from hilum.evaluation.metrics.node_record import NodeRecord, read_nodes
from hilum.evaluation.viewer.case import PRESETS, Layer, Marked, Shown, Window, mark
from hilum.evaluation.viewer.matches import with_matches
from hilum.evaluation.viewer.server import Gallery, make_server

from ..operating.regions import Regions, regions_of_report

REPORT, UNCERTAINTY = "_report.json", "_uncertainty"
DEEPEST = 4
"""How many folders down a run is searched for masks."""


@dataclass(frozen=True)
class Found:
    """A mask, and what lies behind it.

    Attributes:
        case: Its scans; the label, if there is one, is shown as the reference.
        mask: File of the mask.
        nodes: File of the node table.
        uncertainty: File of a map.
        regions: What the values of its masks make up, if the report says that they overlap.
    """

    case: Case
    mask: Path
    nodes: Path | None = None
    uncertainty: Path | None = None
    regions: Regions | None = None


def view(
    folder: str | Path,
    *,
    manifest: str | Path | None = None,
    port: int = 0,
    browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Show masks on their scans until it is interrupted.

    Args:
        folder: What `hilum predict` wrote, a folder of such, or masks `<case>.nii.gz` of any tool.
        manifest: Names scans and labels of the cases; needed for masks without a report.
        port: Of the page on the loopback address; 0 takes a free one.
        browser: Whether to open it.
        say: Gets the address.

    Raises:
        DataError: If there is nothing to show.
        SettingsError: If the port is taken.
    """
    server, url = make_server(gallery(folder, manifest), port)
    try:
        say(f"{url} (Ctrl-C ends it)")
        if browser:
            webbrowser.open(url)
        server.serve_forever()
    except KeyboardInterrupt:
        say("the viewer has ended")
    finally:
        server.server_close()


def gallery(folder: str | Path, manifest: str | Path | None = None) -> Gallery:
    """Return the cases to show; none is read yet."""
    place = Path(folder)
    if not place.is_dir():
        raise DataError("no such folder", file=place, remedy="check the path")
    known = {case.id: case for case in read_manifest(manifest)} if manifest else {}
    found = dict(_found(place, known))
    if not found:
        raise DataError(
            "the folder must hold predictions",
            file=place,
            found="no mask whose scans are known",
            remedy="predict first: hilum predict SEGMENTER --out DIR; for masks of other tools "
            "name their scans with --manifest",
        )
    return Gallery(
        f"hilum view {place.resolve().name}",
        {name: partial(show, one) for name, one in found.items()},
        {name: _about(one) for name, one in found.items()},
    )


def show(found: Found) -> Shown:
    """Read one case.

    Raises:
        DataError: If a file is missing or damaged, or masks lie on different grids.
    """
    masks = {"prediction": read_label(found.mask, found.case.id)}
    reference = read_case_label(found.case)
    if reference is not None:
        masks["reference"] = reference
    first = masks["prediction"]
    grid, axes, flips = first.grid.canonical()
    over = tuple(axis for axis in range(3) if flips[axis])
    rows = _nodes(found, first.array, first.grid)
    marked: dict[str, Marked] = {}
    for number, (who, volume) in enumerate(masks.items()):
        if number:
            label = label_file(found.case)
            volume, _ = place_mask(volume, first.grid, case=found.case.id, file=label)
        turned = np.flip(np.where(volume.array == 255, 0, volume.array).transpose(axes), over)
        listed, taken = rows if number == 0 else (), 0
        for name, one in _parts(who, turned, found.regions):
            own = [row for row in listed if name.endswith(f": {row.region}") or row.region is None]
            marked[name] = mark(one, grid, own, taken)
            taken = max(taken, int(marked[name].labels.max(initial=0)))
    files = dict(found.case.volumes)
    if found.uncertainty is not None:
        files["uncertainty"] = found.uncertainty
    layers = [_layer(name, file, grid, found.case.id) for name, file in files.items()]
    return with_matches(Shown(found.case.id, grid, layers, marked, rows))


def _parts(who: str, mask: np.ndarray, regions: Regions | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a mask by its name, or each region of it as a mask of its own."""
    if regions is None:
        yield who, mask
        return
    for number, name in enumerate(regions.names, 1):
        yield f"{who}: {name}", regions.one(mask, number)


def _found(place: Path, known: dict[str, Case]) -> Iterator[tuple[str, Found]]:
    """Yield every mask below a folder, by its case and, if that is not enough, its folder."""
    seen: set[str] = set()
    for file in sorted(_files(place, DEEPEST)):
        stem = stem_of(file)
        report = file.with_name(stem + REPORT)
        if not stem or not (report.is_file() or stem in known):
            continue
        case = known.get(stem) or _of_report(report)
        name = stem if stem not in seen else f"{file.parent.relative_to(place)}/{stem}"
        seen.add(stem)
        nodes = file.with_name(f"{stem}_nodes.json")
        doubt = file.with_name(f"{stem}{UNCERTAINTY}.nii.gz")
        yield (
            name,
            Found(
                replace(case, id=name),
                file,
                nodes if nodes.is_file() else None,
                doubt if doubt.is_file() else None,
                regions_of_report(report),
            ),
        )


def _files(place: Path, deep: int) -> Iterator[Path]:
    for path in place.iterdir():
        if path.is_dir() and deep and not path.name.startswith("."):
            yield from _files(path, deep - 1)
        elif path.name.endswith((".nii", ".nii.gz")):
            yield path


def _of_report(report: Path) -> Case:
    """Return the case that a report of `hilum predict` names, with the scans where they are now."""
    about = read_json(report)
    if not isinstance(about, dict) or not isinstance(about.get("inputs"), dict):
        raise DataError(
            "a report must name its scans", file=report, remedy="predict again, which writes it"
        )
    volumes = {name: _where(Path(file), report) for name, file in about["inputs"].items()}
    return Case(str(about.get("case", report.name)), str(about.get("patient", "")), volumes)


def _where(file: Path, report: Path) -> Path:
    """Return a scan's file as it was named, from here or from the folder of the report."""
    beside = report.parent / file
    return beside if beside.is_file() and not file.is_file() else file


def _about(found: Found) -> str:
    if found.nodes is None:
        return ""
    rows = read_json(found.nodes)
    if not isinstance(rows, list):
        return ""
    if found.regions is not None:
        each = [row.get("region") for row in rows]
        return ", ".join(f"{each.count(name)} {name}" for name in found.regions.names)
    return f"{len(rows)} node{'' if len(rows) == 1 else 's'}"


def _nodes(found: Found, mask: np.ndarray, grid: Grid) -> list[NodeRecord]:
    if found.nodes is not None:
        return read_nodes(found.nodes)
    # Only here, since it brings torch along.
    from .original_grid import nodes_on_source

    known = np.where(mask == 255, 0, mask)
    return nodes_on_source(known, grid, found.case, regions=found.regions)


def _layer(name: str, file: Path, grid: Grid, case: str) -> Layer:
    volume = read_volume(file, case)
    at = partial(_slice, volume.array, volume.grid, grid, 0.0)
    if name == "uncertainty":
        return Layer(name, "", _range(volume.array), at)
    rule = modality(name)
    at = partial(_slice, volume.array, volume.grid, grid, rule.fill)
    whole = rule.unit not in PRESETS
    return Layer(name, rule.unit, _range(volume.array) if whole else rule.show, at)


def _slice(array: np.ndarray, grid: Grid, target: Grid, fill: float, depth: int) -> np.ndarray:
    """Return one slice of a volume on another grid: `[H, W]`."""
    _, height, width = target.shape
    return resample(array, grid, target.crop((depth, 0, 0), (1, height, width)), fill=fill)[0]


def _range(values: np.ndarray) -> Window:
    """Return the window that holds all but the extremes, of a sample of a volume."""
    sample = values[:: max(len(values) // 32, 1), ::4, ::4]
    low, high = (float(np.percentile(sample, share)) for share in (1, 99.5))
    return low, max(high, low + 1e-6)
