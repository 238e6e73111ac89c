"""A method that breaks one promise fails the check of that promise, and no sound one does."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hilum.contracts import decoders, metrics, modalities, sources, targets
from hilum.core.errors import SettingsError
from hilum.core.modality import MODALITIES, Modality
from hilum.core.registry import Table
from hilum.encoders.decoders.linear import LinearDecoder
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.evaluation.metrics.table import Metric
from hilum.exchange.networks_out.exporting import Target
from hilum.exchange.networks_out.state_dict import export_state_dict
from hilum.exchange.weights_in.reading import ForeignFile
from hilum.exchange.weights_in.source import Recipe, Request
from hilum.exchange.weights_in.stunet import StunetSource

BROKEN = "broken"


class HalfResolution(LinearDecoder):
    """Leaves out every other voxel."""

    def forward(self, pyramid: Any) -> list[Tensor]:
        return [x[..., ::2, ::2, ::2] for x in super().forward(pyramid)]


class CoarsestFirst(PyramidDecoder):
    """Names its heads in the wrong order."""

    def head_rows(self) -> Any:
        return super().head_rows()[::-1]


class IdleParameter(LinearDecoder):
    """Has a parameter that nothing uses."""

    def __init__(self, channels: Any, strides: Any, classes: int) -> None:
        super().__init__(channels, strides, classes)
        self.idle = torch.nn.Linear(2, 2)


class IdleMap(LinearDecoder):
    """Takes no gradient to the coarsest map."""

    def forward(self, pyramid: Any) -> list[Tensor]:
        return super().forward([*pyramid[:-1], pyramid[-1].detach()])


class NoPrior(LinearDecoder):
    """Starts at a prior of its own."""

    def __init__(self, channels: Any, strides: Any, classes: int, prior: float = 0.01) -> None:
        super().__init__(channels, strides, classes, 0.01)


class ForgetsItsParameter(PyramidDecoder):
    """Tells a parameter that it does not have."""

    def __init__(self, channels: Any, strides: Any, classes: int, **more: Any) -> None:
        super().__init__(channels, strides, classes, **more)
        self.spec = {"name": "pyramid", "deep_supervision": True, "nonsense": 1}


class MixesTheBatch(LinearDecoder):
    """Takes the mean of the batch away."""

    def forward(self, pyramid: Any) -> list[Tensor]:
        return [x - x.mean(0, keepdim=True) for x in super().forward(pyramid)]


class ReadsOnTheHost(LinearDecoder):
    """Asks for a value."""

    def forward(self, pyramid: Any) -> list[Tensor]:
        return [x * float(x.detach().abs().max() > 0) for x in super().forward(pyramid)]


def metric(measure: Callable[..., float], better: Any = "higher") -> Metric:
    return Metric("A", "b", "c", better, measure=measure)


def overlap(p: np.ndarray, g: np.ndarray, *rest: Any) -> float:
    both = np.count_nonzero(p) + np.count_nonzero(g)
    return 2 * np.count_nonzero(p & g) / both if both else float("nan")


def fills(p: np.ndarray, g: np.ndarray, *rest: Any) -> float:
    found = overlap(p, g)
    g[...] = False
    return found


def in_voxels(p: np.ndarray, g: np.ndarray, *rest: Any) -> float:
    return float(np.argwhere(p)[:, 2].mean()) if p.any() else 0.0


def along_the_width(p: np.ndarray, g: np.ndarray, *rest: Any) -> float:
    return float(np.argwhere(p)[:, 2].max()) if p.any() else 0.0


def of_pet(p: np.ndarray, g: np.ndarray, grid: Any, volumes: Any) -> float:
    return float(volumes["pet"][p].sum())


def divides(p: np.ndarray, g: np.ndarray, *rest: Any) -> float:
    return p.sum() / g.sum() if g.any() else math.inf


class TakesAnything(StunetSource):
    """Knows every file as its own."""

    def recognise(self, foreign: ForeignFile) -> str:
        return "why not"


class FailsOnOthers(StunetSource):
    """Expects a tensor that others lack."""

    def recognise(self, foreign: ForeignFile) -> str:
        return "it is" if foreign.tensors["conv_blocks_context.0.0.conv3.weight"].ndim else ""


class HidesATensor(StunetSource):
    """Uses one tensor less than it says."""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        recipe = super().recipe(foreign, request)
        recipe.weights.popitem()
        return recipe


class ScalesTheFile(StunetSource):
    """Changes what was read."""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        for value in foreign.tensors.values():
            value.mul_(2)
        return super().recipe(foreign, request)


class ScalesTheWeights(StunetSource):
    """Gives other numbers than the file's."""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        recipe = super().recipe(foreign, request)
        recipe.weights = {name: 2 * value for name, value in recipe.weights.items()}
        return recipe


class NotToBeHad(StunetSource):
    """Does not say how to get a file."""

    obtain = ""


def write_nothing(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    return {}


def tell_the_path(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    (part / "about.txt").write_text(f"made from {folder}")
    return {}


def touch_the_source(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    (folder / "exported").touch()
    return export_state_dict(folder, part, tolerance)


def new_names(folder: Path, part: Path, tolerance: float) -> dict[str, Any]:
    (part / f"model-{part.stat().st_ino}-{part.stat().st_mtime_ns}.pt").touch()
    return {}


CT, PET = MODALITIES["ct"], MODALITIES["pet"]


def of_no_unit() -> Modality:
    """Return what the types do not allow, which a package without type checks can offer."""
    rule = replace(CT)
    object.__setattr__(rule, "unit", "Hounsfield")
    return rule


NEEDS_PET, FILLS = metric(of_pet), metric(fills)
FAULTS: list[tuple[Any, str, Any]] = [
    (decoders, "the_first_output_is_at_full", HalfResolution),
    (decoders, "heads_have_one_row", CoarsestFirst),
    (decoders, "every_map_and_every_parameter", IdleParameter),
    (decoders, "every_map_and_every_parameter", IdleMap),
    (decoders, "it_starts_at_the_prior", NoPrior),
    (decoders, "its_spec_and_state", ForgetsItsParameter),
    (decoders, "a_case_does_not_depend", MixesTheBatch),
    (decoders, "it_reads_nothing", ReadsOnTheHost),
    (metrics, "it_is_a_number_of_any_case", metric(divides)),
    (metrics, "it_leaves_what_it_is_given", FILLS),
    (metrics, "no_prediction_is_better", metric(overlap, "lower")),
    (metrics, "a_mirrored_case", metric(in_voxels)),
    (metrics, "lengths_are_in_mm", metric(along_the_width)),
    (metrics, "without_a_pet_scan", NEEDS_PET),
    (metrics, "it_says_what_it_is", replace(metric(overlap), empty=" ")),
    (modalities, "its_name_can_be_a_column", replace(CT, name="Broken CT")),
    (modalities, "its_unit", of_no_unit()),
    (modalities, "its_numbers_are_finite", replace(CT, show=(240, -160))),
    (modalities, "what_it_shows", replace(CT, plausible=(0, 100))),
    (modalities, "outside_the_field_of_view", replace(PET, fill=40)),
    (modalities, "a_modality_without_an_absolute", replace(PET, unit="a.u.", low=2)),
    (modalities, "what_lies_outside", replace(CT, fill=float("nan"))),
    (modalities, "a_network_sees_numbers", replace(PET, high=1e6)),
    (sources, "files_of_nobody", TakesAnything),
    (sources, "files_of_nobody", FailsOnOthers),
    (sources, "every_number_of_the_encoder", HidesATensor),
    (sources, "every_number_of_the_encoder", ScalesTheFile),
    (sources, "what_is_imported", ScalesTheWeights),
    (sources, "it_says_in_a_line", NotToBeHad),
    (targets, "it_writes_files", Target("x", ("encoder",), write_nothing)),
    (targets, "it_writes_files", Target("x", ("encoder",), tell_the_path)),
    (targets, "it_writes_files", Target("x", ("encoder",), touch_the_source)),
    (targets, "an_export_is_replaced", Target("x", ("encoder",), new_names)),
    (targets, "it_says_in_a_line", Target("", ("encoder",), export_state_dict)),
]


FAILURES: dict[Any, Any] = {
    FailsOnOthers: KeyError,
    ForgetsItsParameter: SettingsError,
    NEEDS_PET: KeyError,
    FILLS: ValueError,
}
"""What those raise that fail before a check can say so."""


def check_of(kind: Any, start: str) -> Callable[..., None]:
    """Return the check whose name begins so."""
    (found,) = [one for name, one in vars(kind).items() if name.startswith(f"test_{start}")]
    return found


@pytest.mark.parametrize(("kind", "start", "entry"), FAULTS)
def test_a_broken_one_fails_the_check(
    kind: Any, start: str, entry: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: Table[Any] = kind.TABLE
    monkeypatch.setitem(table.registered, BROKEN, entry)
    check = check_of(kind, start)
    asks = [key for key in inspect.signature(check).parameters if key != "name"]
    more = {"tmp_path": tmp_path, "kind": "encoder"}
    if "example" in asks:
        (tmp_path / "example").mkdir()
        more["example"] = entry().example(tmp_path / "example")
    given = {key: more[key] for key in asks}
    with pytest.raises(FAILURES.get(entry, (AssertionError, pytest.fail.Exception))):
        check(BROKEN, **given)
