"""Choose an operating point on labelled patients: what is gained, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator
from scipy import ndimage, special, stats

from hilum.core.connected_components import components
from hilum.core.seeds import numpy_generator
from hilum.core.settings import Settings, validate
from hilum.core.types import IGNORE

from ..operating.point import OperatingPoint
from ..operating.regions import Regions, in_view
from .expected import ExpectedSettings
from .temperature import choose_temperature

LOGITS = np.linspace(-4, 4, 21)
"""Where thresholds may lie: 0.02 to 0.98, 0.5 among them."""
BY_LABELS = ("volumes_ml", "suv_floors", "temperature")
"""Settings of `ChoiceSettings` that need labels."""


class ChoiceSettings(Settings):
    """How an operating point is chosen on patients that neither train nor test."""

    by: Literal["labels", "expected"] = Field(
        "labels",
        description="labels: Dice of labelled validation patients; expected: sizes, uptake and, if "
        "stated, number and volume of nodes, on unlabelled cases, without any label",
    )
    expected: ExpectedSettings = Field(
        default_factory=lambda: validate(ExpectedSettings, {}),
        description="what is expected of a patient, for by=expected",
    )

    choose: bool = Field(
        True, description="whether to choose the operating point; otherwise argmax"
    )
    volumes_ml: tuple[float, ...] = Field(
        (0.0, 0.1, 0.2, 0.35, 0.5, 1.0),
        description="minimum component volumes to try in addition to 0, ml",
    )
    suv_floors: tuple[float, ...] = Field(
        (),
        description="SUVmax floors to try in addition to none; small components above are kept",
    )
    temperature: bool = Field(
        True, description="whether to choose the temperature of the probabilities, too"
    )
    prior_patients: float = Field(
        4.0,
        ge=0,
        description="patients that the default is worth: with n that choose, the logit of a "
        "threshold, the logarithm of the temperature and the minimum volume go n / (n + this) of "
        "the way",
    )

    @field_validator("volumes_ml")
    @classmethod
    def _with_none(cls, volumes: tuple[float, ...]) -> tuple[float, ...]:
        if any(v < 0 for v in volumes):
            raise ValueError("a volume must not be negative")
        return tuple(sorted({0.0, *volumes}))

    @field_validator("suv_floors")
    @classmethod
    def _positive(cls, floors: tuple[float, ...]) -> tuple[float, ...]:
        if any(not v > 0 for v in floors):
            raise ValueError("a floor of SUV must be positive")
        return tuple(sorted(set(floors)))


@dataclass(frozen=True)
class Choice:
    """A point, and what speaks for it.

    Attributes:
        point: With the record.
        thresholds: That were tried, 0 to 1.
        curve: Mean Dice over patients at each, of each class: `[classes - 1, thresholds]`.
    """

    point: OperatingPoint
    thresholds: np.ndarray
    curve: np.ndarray


def dice_of_case(
    probability: np.ndarray,
    label: np.ndarray,
    voxel_ml: float,
    settings: ChoiceSettings,
    pet: np.ndarray | None = None,
    regions: Regions | None = None,
) -> np.ndarray:
    """Return the Dice of a case at every candidate; all else of the case can be forgotten.

    Each class is decided by its own threshold here, whatever the others are. Both masks empty
    count 1.

    Args:
        probability: `[classes, D, H, W]`.
        label: uint8 `[D, H, W]`; 255 is unknown.
        voxel_ml: Volume of a voxel.
        settings: Volumes and floors.
        pet: SUV `[D, H, W]`; without it nothing small is dropped where there is a floor.
        regions: What the classes are, if they may overlap; a probability above 0.5 then stands in
            place of the most probable class.

    Returns:
        `[classes - 1, 1 + thresholds, volumes, 1 + floors]`: the first threshold stands for the
        most probable class, the first floor for none.
    """
    best, known = probability.argmax(0), label != IGNORE
    floors = settings.suv_floors
    shape = (1 + len(LOGITS), len(settings.volumes_ml), 1 + len(floors))
    table = np.empty((len(probability) - 1, *shape))
    for value, one in enumerate(probability[1:], 1):
        truth = in_view(label, regions, value)[0] == (value if regions is None else 1)
        default = best == value if regions is None else one > np.float32(0.5)
        total = int(np.count_nonzero(truth))
        limits = special.expit(LOGITS).astype(np.float32)
        masks = (default, *(one > limit for limit in limits))
        for row, mask in enumerate(masks):
            labels, count = components(mask)
            there = np.flatnonzero(mask)
            numbers = labels.ravel()[there]
            sizes = np.bincount(numbers, minlength=count + 1)[1:]
            counted = np.bincount(numbers[known.ravel()[there]], minlength=count + 1)[1:]
            hits = np.bincount(numbers[truth.ravel()[there]], minlength=count + 1)[1:]
            top = np.full(count, np.inf)
            if pet is not None and floors and count:
                top = np.asarray(ndimage.maximum(pet, labels, range(1, count + 1)), float)
            for v, volume in enumerate(settings.volumes_ml):
                large = sizes * voxel_ml >= volume * (1 - 1e-9)
                for f, floor in enumerate((None, *floors)):
                    keep = large if floor is None else large | (top >= floor)
                    ours = int(counted[keep].sum())
                    whole = ours + total
                    both = int(hits[keep].sum())
                    table[value - 1, row, v, f] = 2 * both / whole if whole else 1.0
    return table


def choose(
    tables: Sequence[np.ndarray],
    patients: Sequence[str],
    settings: ChoiceSettings,
    likelihoods: Sequence[np.ndarray] = (),
    overlapping: bool = False,
) -> Choice:
    """Return the point for the mean Dice over patients, drawn towards the default.

    With two patients or more the gain is that of points chosen without the patient that they are
    measured on; if there is none, the default stays. Ties go to what is nearest to the default. The
    temperature is chosen by itself, see `choose_temperature`: thresholds move with it, so that the
    masks are those of the table.

    Args:
        tables: `dice_of_case` of each case.
        patients: Whose they are.
        settings: Of the choice.
        likelihoods: `nll_of_case` of each case, to choose the temperature, too.
        overlapping: Whether the classes are regions.
    """
    names = sorted(set(patients))
    of_each = [[t for t, p in zip(tables, patients, strict=True) if p == name] for name in names]
    table = np.stack([np.mean(own, 0) for own in of_each])
    everyone = list(range(len(names)))
    chosen = _best(table, everyone, settings)
    record: dict[str, Any] = {
        "by": "validation",
        "patients": len(names),
        "dice_argmax": float(table[:, :, 0, 0, 0].mean()),
        "dice_here": float(_at(table, chosen).mean()),
    }
    kept = True
    if len(names) > 1:
        gains = np.array(
            [
                _at(table[[i]], _best(table, [j for j in everyone if j != i], settings))[0]
                - table[i, :, 0, 0, 0].mean()
                for i in everyone
            ]
        )
        mean, error = float(gains.mean()), float(gains.std(ddof=1)) / len(names) ** 0.5
        reach = float(stats.t.ppf(0.975, len(names) - 1)) * error
        record |= {"gain": mean, "gain_low": mean - reach, "gain_high": mean + reach}
        record |= _sure(table, settings)
        kept = mean > 0
    curve = table[:, :, 1:, 0, 0].mean(0)
    point = _point(chosen, settings) if kept else {}
    if not kept:
        record["kept"] = "the default: no gain on patients that did not choose"
    temperature = 1.0
    if likelihoods and settings.temperature:
        temperature, found = choose_temperature(likelihoods, patients, settings.prior_patients)
        if temperature != 1 and len(curve) > 1 and not overlapping and point.get("thresholds"):
            # p^(1/T) of one class depends on all others: no threshold gives the same mask.
            found["temperature_kept"] = "1: thresholds of several classes were chosen without one"
            temperature = 1.0
        record |= found | {"temperature": temperature}
        _warm(point, temperature)
        for name in ("thresholds_low", "thresholds_high"):
            if name in record:
                record[name] = _at_temperature(record[name], temperature)
    made = validate(OperatingPoint, point | {"record": record})
    return Choice(made, special.expit(LOGITS / temperature), curve)


def _warm(point: dict[str, Any], temperature: float) -> None:
    """Give a point a temperature, and thresholds that lead to the same mask at it."""
    point["temperature"] = temperature
    point["thresholds"] = tuple(_at_temperature(point.get("thresholds", ()), temperature))


def _at_temperature(thresholds: Sequence[float], temperature: float) -> list[float]:
    logits = special.logit(np.asarray(thresholds, float)) / temperature
    return special.expit(logits).tolist()


@dataclass(frozen=True)
class _Candidate:
    rows: tuple[int, ...]
    volume: int
    floor: int


def _best(table: np.ndarray, members: Sequence[int], settings: ChoiceSettings) -> _Candidate:
    """Return the best candidate of some patients, drawn towards the default, on the grid."""
    mean = table[list(members)].mean(0)
    share = len(members) / (len(members) + settings.prior_patients)
    rows = []
    for own in mean[:, 1:, 0, 0]:
        ties = np.flatnonzero(own >= own.max() - 1e-12)
        wanted = LOGITS[ties[np.argmin(np.abs(LOGITS[ties]))]] * share
        rows.append(1 + int(np.argmin(np.abs(LOGITS - wanted))))
    here = np.mean([mean[c, row] for c, row in enumerate(rows)], 0)
    v, f = (int(i) for i in np.unravel_index(int(here.argmax()), here.shape))
    volumes = np.array(settings.volumes_ml)
    v = int(np.flatnonzero(volumes <= volumes[v] * share + 1e-12)[-1])
    return _Candidate(tuple(rows), v, f if v else 0)


def _at(table: np.ndarray, candidate: _Candidate) -> np.ndarray:
    """Return the Dice of each patient at a candidate, the mean over classes."""
    found = [
        table[:, c, row, candidate.volume, candidate.floor] for c, row in enumerate(candidate.rows)
    ]
    return np.mean(found, 0)


def _sure(table: np.ndarray, settings: ChoiceSettings, draws: int = 200) -> dict[str, Any]:
    """Return how thresholds vary if other patients choose (bootstrap)."""
    generator, n = numpy_generator(0, "operating point"), len(table)
    found = np.array(
        [
            [
                LOGITS[row - 1]
                for row in _best(table, generator.integers(n, size=n).tolist(), settings).rows
            ]
            for _ in range(draws)
        ]
    )
    low, high = special.expit(np.percentile(found, (2.5, 97.5), axis=0))
    return {"thresholds_low": low.tolist(), "thresholds_high": high.tolist()}


def _point(candidate: _Candidate, settings: ChoiceSettings) -> dict[str, Any]:
    limits = [float(special.expit(LOGITS[row - 1])) for row in candidate.rows]
    volume = settings.volumes_ml[candidate.volume]
    floor = settings.suv_floors[candidate.floor - 1] if candidate.floor else None
    same = all(abs(limit - 0.5) < 1e-9 for limit in limits)
    return {
        "thresholds": () if same else tuple(limits),
        "min_volume_ml": volume,
        "suv_floor": floor if volume else None,
    }
