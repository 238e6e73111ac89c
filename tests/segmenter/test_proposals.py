"""A network that never saw a label predicts as it is, and says everywhere what it is."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import ImageDraw
from torch.testing import assert_close

from hilum.core.checkpoints import save_encoder
from hilum.core.errors import CheckpointError
from hilum.core.files import read_json
from hilum.datasets.manifest import read_manifest
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.recipe import preparation_of
from hilum.encoders.networks import Output
from hilum.segmenter.ensemble import load_predictor
from hilum.segmenter.prediction.cohort import predict
from hilum.segmenter.segmenter import Segmenter

from ..pretext_networks import write_network
from ..tiny_cohort import ENCODER, SPACING

NODES = (Output(kind="class", name="background"), Output(kind="synthetic", name="node"))
REBUILT = tuple(Output(kind="reconstruction", name=name) for name in ("ct", "pet"))


def write_run(folder: Path, outputs: tuple[Output, ...], **extra: Any) -> Path:
    """Write what a pretraining leaves behind: an encoder and a network folder."""
    network = write_network(
        folder / "network",
        outputs,
        {"name": "pyramid", "deep_supervision": True},
        architecture=ENCODER,
        modalities=("ct", "pet"),
        spacing=SPACING,
        patch=(8, 12, 16),
        extra=extra,
    )
    save_encoder(folder / "encoder", network.encoder, network.config.encoder)
    return folder


def test_the_segmenter_computes_what_the_network_computes(tmp_path: Path) -> None:
    from hilum.encoders.networks import read_network

    run = write_run(tmp_path / "run", NODES)
    network = read_network(run / "network")
    for part in (network.encoder, network.decoder):
        part.eval()
    image = torch.randn(2, 2, 8, 12, 16, generator=torch.Generator().manual_seed(1))
    image[1, 1] = 0
    have = torch.tensor([[True, True], [True, False]])
    for given in (run, run / "network"):
        model = load_predictor(given)
        with torch.no_grad():
            assert_close(model(image, have)[0], network(image))
        assert model.config.names == ("node",)


def test_masks_tables_pages_and_the_terminal_say_proposals(
    tmp_path: Path, store: CaseStore, manifest: Path
) -> None:
    run = write_run(tmp_path / "run", NODES, preparation=preparation_of(store))
    said: list[str] = []
    predict(run, manifest, tmp_path / "out", say=said.append)
    assert sum("proposals" in line for line in said) == 1
    report = read_json(tmp_path / "out" / "case_0_report.json")
    assert any("proposals" in note["text"] for note in report["notes"])
    assert report["nodes"]
    assert {node["status"] for node in report["nodes"]} == {"proposal"}
    with (tmp_path / "out" / "case_0_nodes.csv").open() as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"proposal"}
    assert "are proposals" in (tmp_path / "out" / "case_0.html").read_text()


def test_a_network_that_rebuilds_is_no_segmenter(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", REBUILT)
    with pytest.raises(CheckpointError, match="must segment") as caught:
        load_predictor(run)
    assert "hilum finetune init_from=" in str(caught.value)


def test_pictures_and_python_objects_say_proposals(
    tmp_path: Path, store: CaseStore, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = write_run(tmp_path / "run", NODES, preparation=preparation_of(store))
    titles, drawn = [], ImageDraw.ImageDraw.text

    def seen(self: Any, xy: Any, text: str, *rest: Any, **named: Any) -> None:
        titles.append(text)
        drawn(self, xy, text, *rest, **named)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", seen)
    predict(run, manifest, tmp_path / "out", say=lambda text: None)
    assert "case_0: PROPOSALS of a network without labels" in titles
    assert "proposal" in titles
    assert "prediction" not in titles
    case = next(one for one in read_manifest(manifest) if one.id == "case_0")
    found = load_predictor(run)(**{name: str(file) for name, file in case.volumes.items()})
    assert found.proposal
    assert found.nodes
    assert {node.status for node in found.nodes} == {"proposal"}


def test_what_learned_from_labels_is_called_a_prediction(
    tmp_path: Path, store: CaseStore, manifest: Path, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    monkeypatch.setattr(
        ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: titles.append(text)
    )
    model = Segmenter(config(classes=2, preparation=preparation_of(store)))
    predict(model.save(tmp_path / "labelled"), manifest, tmp_path / "out", say=lambda text: None)
    assert "prediction" in titles
    assert "case_0" in titles
    assert not any("PROPOSALS" in title or title == "proposal" for title in titles)
    case = read_manifest(manifest)[0]
    assert not model(**{name: str(file) for name, file in case.volumes.items()}).proposal
