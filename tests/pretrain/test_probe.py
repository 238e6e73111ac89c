"""The probe reads labels of pool patients only, and tells features that know nodes from others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hilum.core.errors import DataError
from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.settings import validate
from hilum.datasets.augmentation.paired import PairedAugmentation
from hilum.datasets.splits import SplitSettings
from hilum.datasets.store.case_store import (
    VERSION,
    CaseStore,
    PreparedCase,
    StoredCase,
    write_case,
)
from hilum.datasets.store.foreground import nodes_of
from hilum.pretrain.probe import VoxelProbe, probe_cases
from hilum.pretrain.ready import unused_in
from hilum.pretrain.run import pretrain
from hilum.pretrain.settings import PretrainSettings, ProbeSettings

SIDES = (18, 20, 22)
PATCH = (12, 14, 16)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Five patients with a hot node each; the last one tests, the first has no label."""
    folder = tmp_path_factory.mktemp("labelled")
    grid = Grid.from_spacing(SIDES, (3, 2, 2))
    rows = []
    for number in range(5):
        generator = np.random.default_rng(number)
        label = np.zeros(SIDES, np.uint8)
        d, h, w = generator.integers(4, 10, 3)
        label[d : d + 4, h : h + 5, w : w + 6] = 1
        ct = generator.normal(0, 80, SIDES)
        pet = np.where(label, 8, 1) + generator.uniform(0, 0.2, SIDES)
        has = number != 0
        case = PreparedCase(
            id=f"case_{number}",
            patient=f"patient_{number}",
            site="",
            split="test" if number == 4 else "train",
            images=np.stack([ct, pet]).astype(np.float16),
            modalities=("ct", "pet"),
            regions=np.full(SIDES, 7, np.uint8),
            label=label if has else None,
            grid=grid,
            source_grid=grid,
            factors={"ct": 1.0, "pet": 1.0},
            inputs={},
        )
        nodes, points = nodes_of(label if has else label * 0, grid, case.id)
        write_case(folder / case.id, case, nodes, points)
        row = {"id": case.id, "patient": case.patient, "site": "", "split": case.split}
        row |= {"modalities": ("ct", "pet"), "labelled": has, "shape": SIDES, "nodes": len(nodes)}
        rows.append(row)
    about = {"version": VERSION, "modalities": ["ct", "pet"], "spacing": [3, 2, 2], "classes": 2}
    write_json(folder / "store.json", about | {"fingerprint": "abc", "cases": rows})
    return CaseStore(folder)


class Look(nn.Module):
    """Gives one channel of the image, and nothing else, as its only level."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.channel, self.scale = channel, nn.Parameter(torch.ones(()))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        return [image[:, self.channel : self.channel + 1] * self.scale]


def probe_of(store: CaseStore, **changes: Any) -> VoxelProbe:
    settings = validate(ProbeSettings, {"every": 1, "patients": 3, "patches": 4} | changes)
    split = validate(SplitSettings, {})
    names = ("ct", "pet")
    return VoxelProbe(
        store,
        probe_cases(store, split, names, settings, 0),
        PairedAugmentation(names, PATCH, store.spacing),
        settings,
        validate_every=2,
        steps=5,
        seed=3,
    )


def test_features_that_know_nodes_score_high_and_others_low(labelled: CaseStore) -> None:
    probe = probe_of(labelled)
    pet, ct = probe.measure(Look(1)), probe.measure(Look(0))
    assert pet["probe/dice"] > 0.99
    assert pet["probe/knn_accuracy"] > 0.99
    assert ct["probe/dice"] < 0.4
    assert abs(ct["probe/knn_accuracy"] - 0.5) < 0.1
    assert probe.measure(Look(0)) == ct, "the same each time"


def test_only_labelled_patients_that_do_not_test_are_read(
    labelled: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    read = StoredCase.read

    def spy(self: StoredCase, *args: Any) -> Any:
        seen.add(self.id)
        return read(self, *args)

    monkeypatch.setattr(StoredCase, "read", spy)
    probe = probe_of(labelled)
    probe.measure(Look(1))
    assert seen == {"case_1", "case_2", "case_3"}
    assert not set(probe.cases.fit) & set(probe.cases.measure)
    assert (len(probe.cases.fit), len(probe.cases.measure)) == (2, 1)


def test_a_study_of_few_labels_probes_with_these_only(labelled: CaseStore) -> None:
    few = validate(SplitSettings, {"labels": 2})
    chosen = probe_cases(labelled, few, ("ct", "pet"), validate(ProbeSettings, {}), 0)
    assert len(chosen.fit) == len(chosen.measure) == 1
    one = validate(SplitSettings, {"labels": 1})
    with pytest.raises(DataError, match="two labelled patients with nodes"):
        probe_cases(labelled, one, ("ct", "pet"), validate(ProbeSettings, {}), 0)


@pytest.mark.parametrize(("every", "labels"), [(0, None), (0, 2), (1, 2)])
def test_patients_of_split_validation_are_said_to_matter_only_where_they_do(
    labelled: CaseStore, every: int, labels: int | None
) -> None:
    probe, reads = validate(ProbeSettings, {"every": every}), set()
    for validation in (0, 1):
        split = validate(SplitSettings, {"labels": labels, "validation": validation})
        found = probe_cases(labelled, split, ("ct", "pet"), probe, 0)
        reads.add(found if every else None)
    settings = settings_of(labelled, every).model_copy(update={"split": split})
    said = [idle for idle in unused_in(settings) if "split.validation" in str(idle)]
    assert bool(said) == (len(reads) == 1)


def settings_of(store: CaseStore, every: int) -> PretrainSettings:
    trainer = {"steps": 5, "precision": "32", "validate_every": 2, "tracking": {"mode": "disabled"}}
    values = {
        "store": store.path,
        "encoder": {"name": "resenc", "features": [4, 8], "blocks": [1, 1]},
        "task": {"name": "masked_autoencoder", "block": 4},
        "patch": PATCH,
        "trainer": trainer,
        "probe": {"every": every, "patches": 2},
    }
    return validate(PretrainSettings, values)


def test_a_run_logs_the_probe_now_and_then_and_learns_the_same(
    labelled: CaseStore, tmp_path: Path
) -> None:
    bits = []
    for every in (2, 0):
        out = tmp_path / str(every)
        pretrain(settings_of(labelled, every), out)
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        steps = [row["step"] for row in rows if "probe/dice" in row]
        assert steps == ([4, 5] if every else [])
        bits.append((out / "encoder" / "model.safetensors").read_bytes())
    assert bits[0] == bits[1]


def test_a_run_without_a_probe_reads_no_label(
    labelled: CaseStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: StoredCase) -> Any:
        raise AssertionError("a label was read")

    monkeypatch.setattr(StoredCase, "foreground", property(refuse))
    monkeypatch.setattr("hilum.pretrain.ready.probe_cases", refuse)
    pretrain(settings_of(labelled, 0), tmp_path / "r")


def test_a_store_without_labels_is_a_clear_error(store: CaseStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"probe needs two labelled patients.*set probe.every to 0"):
        pretrain(settings_of(store, 1), tmp_path / "r")
