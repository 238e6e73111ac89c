"""A small case store: paired patients, one with CT alone, one with PET alone, one that tests."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.datasets.foreground import nodes_of
from hilum.datasets.store import VERSION, CaseStore, PreparedCase, write_case

SIDES = (18, 20, 22)
HAVE = [("ct", "pet"), ("ct", "pet"), ("ct",), ("pet",), ("ct", "pet")]


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    folder = tmp_path_factory.mktemp("store")
    rows = []
    grid = Grid.from_spacing(SIDES, (3, 2, 2))
    for number, modalities in enumerate(HAVE):
        generator = np.random.default_rng(number)
        values = {"ct": generator.normal(0, 80, SIDES), "pet": generator.gamma(1, 2, SIDES)}
        body = np.zeros(SIDES, np.uint8)
        body[1:-1, 2:-2, 2:-2] = 1
        regions = body + sum(2 << channel for channel in range(len(modalities))) * body
        case = PreparedCase(
            id=f"case_{number}",
            patient=f"patient_{number}",
            site="",
            split="test" if number == 4 else "train",
            images=np.stack([values[name] for name in modalities]).astype(np.float16),
            modalities=modalities,
            regions=regions.astype(np.uint8),
            label=None,
            grid=grid,
            source_grid=grid,
            factors=dict.fromkeys(modalities, 1.0),
            inputs={},
        )
        write_case(folder / case.id, case, *nodes_of(np.zeros(SIDES, np.uint8), grid, case.id))
        row = {"id": case.id, "patient": case.patient, "site": "", "split": case.split}
        rows.append(row | {"modalities": modalities, "labelled": False, "shape": SIDES})
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2], "classes": 1}
    write_json(folder / "store.json", about | {"fingerprint": "abc", "cases": rows})
    return CaseStore(folder)
