"""Write what was chosen: a table and a curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hilum.core.files import write_json, write_text
from hilum.evaluation.charts.svg import lines
from hilum.evaluation.html.rendering import render

from .choose import Choice
from .expected import ExpectedChoice


def write_choice(folder: Path, choice: Choice, cases: Sequence[str]) -> None:
    """Write `operating_point.json` and `operating_point.html`.

    Args:
        folder: Where.
        choice: What was chosen.
        cases: That chose.
    """
    point = choice.point
    curves = [list(map(float, own)) for own in choice.curve]
    write_json(
        folder / "operating_point.json",
        {
            "operating_point": point.model_dump(mode="json"),
            "cases": list(cases),
            "thresholds": [float(t) for t in choice.thresholds],
            "dice": curves,
        },
    )
    series = [
        (f"class {c}", list(zip(map(float, choice.thresholds), own, strict=True)))
        for c, own in enumerate(curves, 1)
    ]
    text = render(
        "segmenter/calibration/choice.html.j2",
        title="Operating point",
        words=point.words(),
        few=point.record["patients"] < 5,
        rows=_rows(choice),
        chart=lines(series, "threshold", "mean Dice"),
    )
    write_text(folder / "operating_point.html", text)


def write_expected(folder: Path, choice: ExpectedChoice, cases: Sequence[str]) -> None:
    """Write `operating_point.json` and `operating_point.html` of a choice without labels.

    Args:
        folder: Where.
        choice: What was chosen.
        cases: That chose.
    """
    point, tried = choice.point, [float(t) for t in choice.thresholds]
    columns = {"number": choice.means[:, 0].tolist(), "total_ml": choice.means[:, 1].tolist()}
    write_json(
        folder / "operating_point.json",
        {
            "operating_point": point.model_dump(mode="json"),
            "cases": list(cases),
            "thresholds": tried,
            **columns,
        },
    )
    record = point.record
    rows = [["unlabelled patients that chose", f"{record['patients']}"]]
    for name, words in (("number", "nodes a patient"), ("total_ml", "ml of nodes a patient")):
        expected = record[f"{name}_expected"]
        rows.append([f"{words}, expected", "not used" if expected is None else f"{expected:.3g}"])
        rows.append([f"{words}, at a threshold of 0.5", f"{record[f'{name}_at_half']:.3g}"])
        if name in record:
            rows.append([f"{words}, at the point", f"{record[name]:.3g}"])
    if "kept" in record:
        rows.append(["kept", record["kept"]])
    else:
        ends = f"{record['threshold_low']:.2f} to {record['threshold_high']:.2f}"
        rows.append(["threshold if other patients chose", ends])
    names = {"number": "nodes", "total_ml": "ml of nodes"}
    series = [(names[n], list(zip(tried, values, strict=True))) for n, values in columns.items()]
    text = render(
        "segmenter/calibration/expected.html.j2",
        title="Operating point without labels",
        words=point.words(),
        rows=rows,
        chart=lines(series, "threshold", "mean of a patient"),
    )
    write_text(folder / "operating_point.html", text)


def _rows(choice: Choice) -> list[list[str]]:
    record = choice.point.record
    rows = [
        ["patients that chose", f"{record['patients']}"],
        ["their Dice at argmax", f"{record['dice_argmax']:.3f}"],
        ["their Dice at the point (they chose it: too good)", f"{record['dice_here']:.3f}"],
    ]
    if "gain" not in record:
        return [*rows, ["gain on patients that did not choose", "not known with one patient"]]
    gain = f"{record['gain']:+.3f} [{record['gain_low']:+.3f}, {record['gain_high']:+.3f}]"
    rows.append(["gain on patients that did not choose (each left out in turn)", gain])
    ends = zip(record["thresholds_low"], record["thresholds_high"], strict=True)
    for c, (low, high) in enumerate(ends, 1):
        rows.append([f"threshold of class {c} if others chose", f"{low:.2f} to {high:.2f}"])
    if "kept" in record:
        rows.append(["kept", record["kept"]])
    return [*rows, *_temperature(record)]


def _temperature(record: dict[str, Any]) -> list[list[str]]:
    """Return what speaks for the temperature, if one was looked for."""
    if "temperature" not in record:
        return []
    rows = [["temperature", f"{record['temperature']:.3g}"]]
    if "nll_at_1" in record:
        name = "their negative log-likelihood a voxel"
        rows.append([f"{name}, at temperature 1", f"{record['nll_at_1']:.4g}"])
    if "nll_gain" in record:
        ends = f"[{record['nll_gain_low']:+.2g}, {record['nll_gain_high']:+.2g}]"
        name = "its gain on patients that did not choose (each left out in turn)"
        rows.append([name, f"{record['nll_gain']:+.2g} {ends}"])
        ends = f"{record['temperature_low']:.2f} to {record['temperature_high']:.2f}"
        rows.append(["temperature if others chose", ends])
    if "temperature_kept" in record:
        rows.append(["temperature kept", record["temperature_kept"]])
    return rows
