"""Embeddings of the cases of a store: the Python side of `hilum embed`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import hash_of_file, write_json
from hilum.core.geometry import IntTriple
from hilum.core.outputs import check_output, mark
from hilum.core.precision import autocast_dtype
from hilum.core.settings import validate
from hilum.core.undefined import undefined_last
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore, StoredCase
from hilum.datasets.store.places import Place

from .features import Features, read_features
from .nodes import Region, regions_of
from .page import write_page
from .pooling import pooled
from .rank import Rank, rank, rank_rows
from .settings import EmbedSettings
from .table import Embeddings
from .windows import CaseWindows, Window

RANKING = "ranking.json"
Progress = Callable[[int, int, str], None]
"""Called with how many cases are done, how many there are, and what was done last."""


def embed(
    folder: str | Path,
    store: Place,
    out: str | Path,
    *,
    against: Sequence[str | Path] = (),
    settings: EmbedSettings | None = None,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed the cases of a store, draw a map of them, and rank networks by what they tell apart.

    Writes `embeddings.npy`, `.csv`, `.json` and `.html` to `out`; with other folders also
    `ranking.json`.

    Args:
        folder: Encoder, network or segmenter folder, or a run that holds one.
        store: Case store, or several as one pool by their names.
        out: Folder for all of it.
        against: More folders to rank next to it.
        settings: What is embedded.
        say: Gets what the user should know.
        progress: Called after each case.

    Returns:
        Vectors `[N, C]` with a table.

    Raises:
        CheckpointError: If a folder holds no network.
        DataError: If a case has no modality that the network knows.
        SettingsError: If networks are to be ranked without nodes.
    """
    settings = settings or validate(EmbedSettings, {})
    if against and not settings.nodes:
        raise SettingsError("a ranking needs nodes", remedy="leave out nodes=false, or --against")
    check_output(out, "embed", earlier="embeddings.npy", inputs=[folder, *against])
    held = CaseStore(store)
    found = embeddings_of(folder, held, settings, say=say, progress=progress)
    ranks: list[Rank] = []
    if against:
        ranks.append(rank(folder, found))
        for other in against:
            beside = embeddings_of(other, held, settings, say=say, progress=progress)
            ranks.append(rank(other, beside))
        ranks.sort(key=lambda one: undefined_last(-one.linear.value))
        for line in rank_rows(ranks):
            say(line)
    mark(out, "embed")
    found.save(out)
    if ranks:
        write_json(Path(out) / RANKING, [one.as_json() for one in ranks])
    else:
        (Path(out) / RANKING).unlink(missing_ok=True)
    write_page(Path(out), found, ranks, settings.neighbours)
    return found


def embeddings_of(
    folder: str | Path,
    store: CaseStore,
    settings: EmbedSettings | None = None,
    *,
    say: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> Embeddings:
    """Return embeddings of every case, its patches and, but for test patients, its nodes.

    A patch is a window of the training size; windows lie side by side wherever there is body. Its
    embedding is the mean of each feature map over the body in it, of all maps one after another;
    that of a case is the mean over its body. A node is the mean over its voxels in a window around
    it, and so are places of its shape elsewhere in the body (`background`), some of them hot.

    Args:
        folder: Encoder, network or segmenter folder. Of a segmenter the features are those that
            its decoders read, after fusion.
        store: Where the cases are.
        settings: Window, levels, and whom the split tests.
        say: Gets what the user should know.
        progress: Called after each case.
    """
    settings = settings or validate(EmbedSettings, {})
    network = read_features(folder)
    network.to("cuda" if torch.cuda.is_available() else "cpu")
    if not np.allclose(network.spacing, store.spacing, atol=1e-3):
        say(
            f"{folder} was trained at {_mm(network.spacing)}, the store is at "
            f"{_mm(store.spacing)}: its features may mean less here"
        )
    test = set(make_split(store, settings.split).test)
    sides = settings.window or network.patch
    vectors, rows = list[np.ndarray](), list[dict[str, Any]]()
    for number, name in enumerate(store.ids, 1):
        case = store[name]
        common = _common(case, "test" if name in test else "train")
        for row, vector in _of_case(case, network, sides, settings, name not in test):
            rows.append(common | row)
            vectors.append(vector)
        if progress:
            progress(number, len(store.ids), name)
    about = {
        "folder": str(folder),
        "weights": hash_of_file(_weights(folder)),
        "store": store.fingerprint,
        "settings": settings.model_dump(mode="json"),
        "modalities": network.modalities,
        "window": sides,
    }
    return Embeddings(np.stack(vectors).astype(np.float32), rows, about)


def _of_case(
    case: StoredCase, network: Features, sides: IntTriple, settings: EmbedSettings, labels: bool
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    windows = CaseWindows(case, network, sides)
    runner = _Runner(network, windows, settings)
    patches = list(windows.over_body())
    if not patches:
        raise DataError("a case must have body", case=case.id, remedy="prepare it again")
    found = runner(patches)
    share = np.array([float(one.share.mean()) for one in patches])
    whole = (found * share[:, None]).sum(0) / share.sum()
    middle = (np.array(case.grid.shape) - 1) / 2
    yield _row(case, "case", "", middle, case.grid.shape, share.mean()), whole
    for number, (one, vector) in enumerate(zip(patches, found, strict=True), 1):
        place = np.array(one.start) + (np.array(sides) - 1) / 2
        yield _row(case, "patch", f"p{number}", place, sides, share[number - 1]), vector
    if not (settings.nodes and labels):
        return
    regions = list(regions_of(case, settings.seed))
    near = [windows.around(one.middle, one.mask, one.start) for one in regions]
    for one, vector in zip(regions, runner(near), strict=True):
        yield _of_region(case, one), vector


class _Runner:
    """Runs windows through a network, some at a time. Final."""

    def __init__(self, network: Features, windows: CaseWindows, settings: EmbedSettings) -> None:
        self.network, self.windows, self.settings = network, windows, settings

    @torch.inference_mode()
    def __call__(self, windows: Sequence[Window]) -> np.ndarray:
        """Return an embedding of each, float32 `[N, C]`."""
        parts = []
        device = self.windows.available.device
        dtype = autocast_dtype(device.type)
        for first in range(0, len(windows), self.settings.batch_size):
            some = windows[first : first + self.settings.batch_size]
            image = torch.stack([one.image for one in some])
            have = self.windows.available.expand(len(some), -1)
            with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
                pyramids = self.network(image, have)
            share = torch.stack([one.share for one in some])
            parts.append(pooled(pyramids, share, self.settings.levels).cpu().numpy())
        if not parts:
            return np.zeros((0, 0), np.float32)
        found = np.concatenate(parts)
        if not np.isfinite(found).all():
            raise SettingsError(
                "features must be finite numbers",
                case=self.windows.case.id,
                remedy="the weights are damaged, or the window holds nothing that counts",
            )
        return found


def _common(case: StoredCase, part: str) -> dict[str, Any]:
    return {
        "case": case.id,
        "patient": case.patient,
        "site": case.site,
        "split": part,
        "labelled": case.labelled,
    }


def _row(
    case: StoredCase, kind: str, name: str, middle: np.ndarray, sides: Sequence[int], body: float
) -> dict[str, Any]:
    x, y, z = case.grid.to_world(middle).tolist()
    lengths = np.array(sides) * case.grid.spacing
    return {
        "kind": kind,
        "id": f"{case.id}/{name}" if name else case.id,
        "class": "",
        **dict(zip(("x_mm", "y_mm", "z_mm"), (x, y, z), strict=True)),
        **dict(zip(("depth_mm", "height_mm", "width_mm"), lengths.tolist(), strict=True)),
        "body": float(body),
        "volume_ml": "",
    }


def _of_region(case: StoredCase, region: Region) -> dict[str, Any]:
    row = _row(case, region.kind, region.name, region.middle, region.mask.shape, 1.0)
    volume = float(region.about["volume_ml"])
    return row | {
        "class": region.about["class"] if region.kind == "node" else 0,
        "volume_ml": volume,
    }


def _weights(folder: str | Path) -> Path:
    """Return the file with the weights of a folder, or of the run that it is."""
    place = Path(folder)
    inside = [place, *(place / name for name in ("segmenter", "network", "encoder"))]
    return next(p / "model.safetensors" for p in inside if (p / "model.safetensors").is_file())


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{s:g}" for s in spacing) + " mm"
