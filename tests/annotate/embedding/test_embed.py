"""Embeddings are means over what they say, and labels of test patients stay closed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import hilum
from hilum.annotate.embedding import embed as place
from hilum.annotate.embedding.embed import embeddings_of
from hilum.annotate.embedding.features import Features, SegmenterFeatures, read_features
from hilum.annotate.embedding.pooling import pooled
from hilum.annotate.embedding.settings import EmbedSettings
from hilum.cli.app import app
from hilum.core.errors import UserError
from hilum.core.modality import modality
from hilum.core.settings import validate
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ...tiny_cohort import FUSION, SPACING


class ImageItself(Features):
    """The image as its own feature map, so that an embedding is a mean of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.modalities, self.zscored = ("ct", "pet"), ()
        self.patch, self.spacing, self.dimensions = (32, 32, 32), SPACING, 2
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, image: Tensor, available: Tensor) -> list[list[Tensor]]:
        return [[image]]


@pytest.fixture
def itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder that reads as `ImageItself`."""
    monkeypatch.setattr(place, "read_features", lambda folder: ImageItself())
    monkeypatch.setattr(place, "autocast_dtype", lambda device: None)
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


def encoded(store: CaseStore, name: str) -> np.ndarray:
    """Return `[2, D, H, W]` on the scale of a network, by the store alone."""
    case, rows = store[name], []
    for key in ("ct", "pet"):
        if key in case.modalities:
            image = np.asarray(case.images[case.modalities.index(key)], np.float32)
            rows.append(modality(key).encode(image))
        else:
            rows.append(np.zeros(case.grid.shape, np.float32))
    return np.stack(rows)


def test_a_case_is_the_mean_over_its_body(store: CaseStore, itself: Path) -> None:
    found = embeddings_of(itself, store).of("case")
    assert [row["case"] for row in found.rows] == store.ids
    for name, vector in zip(store.ids, found.vectors, strict=True):
        body = (np.asarray(store[name].regions) & 1).astype(bool)
        want = encoded(store, name)[:, body].mean(1)
        np.testing.assert_allclose(vector, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("window", [(8, 8, 8), (12, 16, 20)])
def test_windows_side_by_side_cover_the_body(
    store: CaseStore, itself: Path, window: tuple[int, ...]
) -> None:
    """Windows overlap a little to fit, so the mean is that of the body up to a few hundredths."""
    settings = validate(EmbedSettings, {"window": window})
    found = embeddings_of(itself, store, settings)
    assert len(found.of("patch").rows) > len(store)
    body = (np.asarray(store["case_0"].regions) & 1).astype(bool)
    want = encoded(store, "case_0")[:, body].mean(1)
    np.testing.assert_allclose(found.of("case").vectors[0], want, atol=0.06)


def test_a_node_is_the_mean_over_its_voxels_and_a_place_beside_it_has_none(
    store: CaseStore, itself: Path
) -> None:
    found = embeddings_of(itself, store)
    nodes, beside = found.of("node"), found.of("background")
    assert {row["case"] for row in nodes.rows} == {"case_0", "case_1", "case_2", "case_3"}
    for row, vector in zip(nodes.rows, nodes.vectors, strict=True):
        label = np.asarray(store[row["case"]].label)
        want = encoded(store, row["case"])[:, label == 1].mean(1)
        np.testing.assert_allclose(vector, want, rtol=1e-4, atol=1e-5)
        assert row["class"] == 1
        middle = store[row["case"]].grid.to_world(np.argwhere(label == 1).mean(0))
        np.testing.assert_allclose([row["x_mm"], row["y_mm"], row["z_mm"]], middle, atol=1e-3)
    hot = float(np.log1p(4))
    assert len(beside.rows) >= len(nodes.rows)
    assert (beside.vectors[:, 1] < hot).all()
    assert (nodes.vectors[:, 1] > hot).all()
    assert {row["class"] for row in beside.rows} == {0}


def test_nodes_of_whom_the_split_tests_are_not_read(store: CaseStore, itself: Path) -> None:
    settings = validate(EmbedSettings, {"split": {"test": "fold", "folds": 3, "fold": 0}})
    found = embeddings_of(itself, store, settings)
    test = {row["case"] for row in found.rows if row["split"] == "test"}
    assert test
    assert test != {"case_4", "case_5"}
    assert not test & {row["case"] for row in found.of("node").rows}


def test_the_mean_of_a_map_counts_what_it_should() -> None:
    image = torch.arange(2 * 4 * 4 * 4, dtype=torch.float32).reshape(1, 2, 4, 4, 4)
    coarse = nn.functional.avg_pool3d(image, 2)
    share = torch.zeros(1, 1, 4, 4, 4)
    share[..., :2, :2, :2] = 1
    want = image[..., :2, :2, :2].mean((2, 3, 4))
    both = pooled([[image, coarse]], share)
    assert torch.allclose(both, torch.cat([want, want], 1))
    assert pooled([[image, coarse]], share, "finest").shape == (1, 2)
    share[..., 3, 3, 3] = 1
    coarsest = pooled([[image, coarse]], share, "coarsest")
    assert torch.allclose(coarsest, (8 * coarse[..., 0, 0, 0] + coarse[..., 1, 1, 1]) / 9)


@pytest.mark.parametrize("fusion", sorted(FUSION))
def test_a_segmenter_gives_what_its_decoders_read(
    fusion: str, config: Callable[..., SegmenterConfig], store: CaseStore, tmp_path: Path
) -> None:
    segmenter = Segmenter(config(fusion=FUSION[fusion])).save(tmp_path / "segmenter")
    network = read_features(tmp_path)
    found = embeddings_of(
        segmenter, store, validate(EmbedSettings, {"nodes": False, "window": (16, 24, 32)})
    )
    decoders = 2 if fusion == "late" else 1
    assert found.vectors.shape[1] == network.dimensions == decoders * 24


@pytest.mark.parametrize("fusion", sorted(FUSION))
@pytest.mark.parametrize("have", [[True, True], [True, False], [False, True]])
def test_features_are_those_of_a_whole_pass_that_is_not_made(
    fusion: str, have: list[bool], config: Callable[..., SegmenterConfig], tmp_path: Path
) -> None:
    if fusion == "single" and not have[1]:
        pytest.skip("it reads PET alone")
    segmenter = Segmenter(config(fusion=FUSION[fusion])).eval()
    network = read_features(segmenter.save(tmp_path / "segmenter"))
    assert isinstance(network, SegmenterFeatures)
    read: list[list[Tensor]] = []
    ended: list[int] = []
    for decoder in segmenter.decoders.values():
        decoder.register_forward_pre_hook(lambda _, inputs: read.append(list(inputs[0])))
    for decoder in network.segmenter.decoders.values():
        decoder.register_forward_hook(lambda *_: ended.append(1))
    torch.manual_seed(0)
    present = torch.tensor([have])
    image = torch.rand(1, 2, 8, 12, 16) * present[..., None, None, None]
    with torch.inference_mode():
        segmenter(image, present)
        found = network(image, present)
        again = network(image, present)
    assert len(found) == len(read) > 0
    for one, other, twice in zip(found, read, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        assert all(torch.equal(a, b) for a, b in zip(one, twice, strict=True))
    # The last decoder never ends; of late fusion the first one has, to reach the second.
    assert len(ended) <= 2 * (len(network.segmenter.decoders) - 1)


def test_the_command_writes_vectors_a_table_and_a_page_and_ranks(
    store: CaseStore, encoder_folder: Path, segmenter_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ["embed", str(encoder_folder), str(store.path), "--out", str(out)]
    words += ["--near", "case_0", "--against", str(segmenter_folder), "window=[16, 24, 32]"]
    words.append("neighbours=1")
    wrong = CliRunner().invoke(app, [*words, "--near", "case_00"])
    assert isinstance(wrong.exception, UserError)
    assert not out.exists()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    like = re.findall(r"case_0 is like (.*)", done.output)
    assert [one.count("case_") for one in like] == [1]
    ranked = json.loads((out / "ranking.json").read_text())
    assert {one["folder"] for one in ranked} == {str(encoder_folder), str(segmenter_folder)}
    assert all(f"{one['linear']['value']:.3f}" in done.output for one in ranked)
    assert f"{segmenter_folder}: linear" in done.output
    vectors = np.load(out / "embeddings.npy")
    lines = (out / "embeddings.csv").read_text().splitlines()
    assert len(lines) == len(vectors) + 1
    page = (out / "embeddings.html").read_text()
    assert page.count("<circle") > len(store)
    assert "Nearest neighbours" in page
    assert str(segmenter_folder) in page
    settings = validate(EmbedSettings, {"window": (16, 24, 32)})
    again = hilum.embed(encoder_folder, store.path, tmp_path / "again", settings=settings)
    np.testing.assert_array_equal(again.vectors, vectors)


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "nothing there": (lambda place: place / "nothing", "encoder, network or segmenter folder"),
    "another config": (
        lambda place: ((place / "config.json").write_text("{}") and place) or place,
        "another config.json",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_folder_without_a_network_is_refused(bad: str, store: CaseStore, tmp_path: Path) -> None:
    make, message = BAD[bad]
    with pytest.raises(UserError, match=message):
        hilum.embed(make(tmp_path), store.path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_spacing_is_said(
    store: CaseStore, itself: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    network: Any = ImageItself()
    network.spacing = (2.0, 2.0, 2.0)
    monkeypatch.setattr(place, "read_features", lambda folder: network)
    embeddings_of(itself, store, validate(EmbedSettings, {"nodes": False}), say=said.append)
    assert any("2 x 2 x 2 mm" in line for line in said)
