"""A small case store with CT alone, PET alone and one that tests; encoders and batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.seeds import torch_generator
from hilum.datasets.store.case_store import VERSION, CaseStore, PreparedCase, write_case
from hilum.datasets.store.foreground import nodes_of
from hilum.encoders.resenc import ResencEncoder
from hilum.pretrain.base import PretextBatch

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


class Made:
    """Small encoders and batches for the tests of tasks.

    Attributes:
        have: Availability of CT and PET of four cases.
    """

    have = torch.tensor([[True, True], [True, False], [True, True], [False, True]])
    sides = (8, 16, 16)

    @staticmethod
    def encoder(features: tuple[int, ...] = (4, 8), channels: int = 2) -> ResencEncoder:
        """Return an encoder with these features."""
        torch.manual_seed(0)
        return ResencEncoder(in_channels=channels, features=features, blocks=[1] * len(features))

    def batch(
        self, have: torch.Tensor | None = None, views: int = 1, seed: int = 0
    ) -> PretextBatch:
        """Return a batch whose body leaves some voxels out, with the generator at its start."""
        known = self.have if have is None else have

        def one(number: int) -> PretextBatch:
            image = torch.randn(
                len(known), 2, *self.sides, generator=torch_generator(seed, "image", number)
            )
            body = torch.ones(len(known), 1, *self.sides, dtype=torch.bool)
            body[:, :, 1:3, :5] = False
            return PretextBatch(
                image * known[:, :, None, None, None],
                known,
                body,
                torch_generator(seed, "task"),
                cases=tuple("abcdefgh"[: len(known)]),
            )

        return one(0)._replace(others=tuple(one(n) for n in range(1, views)))


@pytest.fixture
def made() -> Made:
    """Return what makes encoders and batches."""
    return Made()
