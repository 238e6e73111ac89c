"""What the report of 500 cells costs: seconds and megabytes.

`python benchmarks/report.py [FOLDER]`: a minute; with a folder the report stays there. The cells
are folders with made-up numbers: arms that differ by what they are made to differ, patients that
are easy or hard, runs that are lucky or not.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from timing import write

from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate, write_yaml
from hilum.evaluation.charts.pictures import case_picture
from hilum.evaluation.metrics.table import SIZE_BANDS
from hilum.study.grid.cells import Cell, expand
from hilum.study.report.report import write_report
from hilum.study.run import ledger
from hilum.study.settings import StudySettings

PATIENTS, TESTED = 48, 20
FUSIONS = {"early": 0.0, "late": -0.02, "gated": 0.01, "cross_attention": 0.015, "CT only": -0.25}
TASKS = {
    "masked autoencoder": {"name": "masked_autoencoder"},
    "contrastive": {"name": "simclr"},
}
STUDY: dict[str, Any] = {
    "name": "made-500",
    "question": "Made-up numbers, drawn to see the report: which fusion of CT and PET finds "
    "malignant nodes with few labelled patients, and what is pretraining worth?",
    "factors": {
        "pretext": {
            "scratch": {},
            **{name: {"pretrain": {"task": task}} for name, task in TASKS.items()},
        },
        "fusion": {
            name: {"fusion": {"name": "single", "modality": "ct"}}
            if name == "CT only"
            else {"fusion": {"name": name}}
            for name in FUSIONS
        },
        "split.labels": [2, 4, 8, 16],
        "split.draw": [0, 1, 2],
        "seed": [0, 1, 2],
    },
    "exclude": [{"pretext": name, "fusion": "CT only"} for name in TASKS],
    "reference": {"pretext": "scratch", "fusion": "early"},
    "conditions": ["ct+pet", "ct", "pet"],
    "finetune": {"encoder": {"name": "resenc"}},
    "pretrain": {"encoder": {"name": "resenc"}},
}
CONDITIONS = {"ct+pet": 0.0, "ct": -0.3, "pet": -0.12}
ROWS = {"ct+pet": 0.0, **{f"ct+pet, shift {d} mm": -0.01 * d for d in (5, 10, 15)}}
ROWS |= {"ct+pet, values x 0.7": -0.03, "ct+pet, values x 1.3": -0.01, "ct": -0.3, "pet": -0.12}


def names() -> list[str]:
    """Return the cases; the last ones test."""
    return [f"case_{number:02d}" for number in range(PATIENTS)]


def make_store(folder: Path) -> None:
    """Write the table of a store; nobody reads its volumes."""
    rows = [
        {"id": name, "patient": f"patient_{name[-2:]}", "site": "", "modalities": ["ct", "pet"],
         "split": "test" if number >= PATIENTS - TESTED else "train", "labelled": True,
         "shape": [64, 64, 64], "nodes": 2 + number % 4, "classes": 1}
        for number, name in enumerate(names())
    ]  # fmt: skip
    about = {"version": 1, "modalities": ["ct", "pet"], "spacing": [2, 2, 2], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": "made", "cases": rows})


def metrics(dice: float, volume: float, nodes: int) -> dict[str, float]:
    """Return the metrics of a case that all follow from its Dice."""
    found = round(nodes * min(1.0, dice + 0.2))
    values = {"dice": dice, "iou": dice / (2 - dice), "nsd_2mm": min(1.0, dice + 0.1)}
    values |= {"hd95_mm": 40 * (1 - dice), "masd_mm": 8 * (1 - dice), "volume_ml": volume}
    values |= {"intersection_ml": dice * volume, "reference_volume_ml": volume}
    values |= {"lesion_tp": found, "lesion_fn": nodes - found, "lesion_fp": round(2 - 2 * dice)}
    values |= {"lesion_tp_50": found, "lesion_sensitivity": found / nodes}
    values |= {"volume_error_ml": volume * (dice - 0.8), "fpv_ml": 3 * (1 - dice), "fnv_ml": 1.0}
    for number, band in enumerate(SIZE_BANDS):
        own = nodes // 4 + (number < nodes % 4)
        values |= {f"lesions_{band}": own, f"found_{band}": min(own, found)}
    return values


def finish(cell: Cell, picture: Path, luck: dict[tuple[Any, ...], float]) -> None:
    """Leave the files that a done cell leaves."""
    cell.folder.mkdir(parents=True)
    about = {"stage": cell.stage, "levels": cell.levels, "key": cell.key, "recipe": cell.recipe}
    write_json(cell.folder / "cell.json", about | {"seconds": 60.0, "bytes": 9})
    (cell.folder / "DONE").touch()
    generator = np.random.default_rng(int(cell.key, 16) % 2**32)
    level = cell.levels
    key = "val/loss" if cell.stage == "pretrain" else "val/dice"
    lines = [{"step": s, "train/loss": 1 / (1 + s)} for s in range(0, 1000, 5)]
    lines += [{"step": s, key: 0.6 * (1 - np.exp(-s / 300))} for s in range(100, 1001, 100)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (cell.folder / "metrics.jsonl").write_text(text)
    if cell.stage == "pretrain":
        (cell.folder / "pictures").mkdir()
        (cell.folder / "pictures" / "001000.png").hardlink_to(picture)
        return
    own = 0.35 + FUSIONS[level["fusion"]] + 0.09 * np.log2(level["split.labels"])
    own += 0.06 * (level["pretext"] != "scratch") * (1 - np.log2(level["split.labels"]) / 5)
    run = (level["split.draw"], level["split.labels"])
    own += luck.setdefault(run, float(generator.normal(0, 0.02))) + generator.normal(0, 0.015)
    cases = names()
    tested = cases[-TESTED:]
    split = {"pool": cases[:-TESTED], "train": cases[: level["split.labels"]]}
    split |= {"validation": cases[20:22], "test": tested}
    write_json(cell.folder / "split.json", split)
    flops = 4e10 * (1 + list(FUSIONS).index(level["fusion"]) / 2)
    seconds = flops / 4e8 * generator.uniform(0.95, 1.05)
    write_json(
        cell.folder / "summary.json",
        {"steps": 1000, "seconds": seconds, "parameters": 3e7 * flops / 4e10, "flops": flops},
    )
    test: dict[str, Any] = {condition: {} for condition in CONDITIONS}
    matrix = ["row,case,patient,dice"]
    for number, name in enumerate(tested):
        hard = -0.4 if number == 3 else 0.08 * np.sin(7 * number)
        dice = own + hard + generator.normal(0, 0.03)
        patient = f"patient_{name[-2:]}"
        for condition, loss in CONDITIONS.items():
            value = float(np.clip(dice + loss, 0, 0.97))
            numbers = metrics(value, 5 + 3 * number, 2 + number % 4)
            test[condition][name] = {"patient": patient, "metrics": numbers}
        matrix += [f'"{r}",{name},{patient},{np.clip(dice + c, 0, 1)}' for r, c in ROWS.items()]
    write_json(cell.folder / "test" / "metrics.json", test)
    for name in tested:
        (cell.folder / "test" / f"{name}.png").hardlink_to(picture)
    if level["split.labels"] == 8:
        (cell.folder / "robustness").mkdir()
        (cell.folder / "robustness" / "robustness_cases.csv").write_text("\n".join(matrix))


def draw(file: Path) -> Path:
    """Draw an overlay as a cell does."""
    shape = (64, 64, 64)
    grid = Grid.from_spacing(shape, (2, 2, 2))
    generator = np.random.default_rng(0)
    label = np.zeros(shape, np.uint8)
    label[28:36, 30:38, 26:34] = 1
    volumes = {
        "ct": generator.normal(0, 60, shape).astype(np.float32),
        "pet": generator.gamma(1, 1, shape).astype(np.float32) + 6 * label,
    }
    case_picture(file, volumes, grid, label, np.roll(label, 2, 1), title="made")
    return file


def main() -> None:
    """Make the cells, write their report, and tell what it took."""
    with tempfile.TemporaryDirectory() as name:
        out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(name)
        make_store(out / "store")
        study = validate(StudySettings, STUDY | {"store": str(out / "store")})
        write_yaml(out / "study.yaml", study)
        cells = expand(study, out / "study")
        picture, luck = draw(out / "overlay.png"), {}
        for cell in cells:
            if not cell.folder.exists():
                finish(cell, picture, luck)
        began, used = time.perf_counter(), time.process_time()
        found = write_report(study, out / "study", ledger.read(cells))
        row = {
            "what": "report with its tables",
            "cells": len(cells),
            "wall_s": round(time.perf_counter() - began, 1),
            "cpu_s": round(time.process_time() - used, 1),
            "mb": round(found.page.stat().st_size / 1e6, 1),
        }
    print(row)
    if len(sys.argv) < 2:
        print(write("report", "python benchmarks/report.py", [row]))


if __name__ == "__main__":
    main()
