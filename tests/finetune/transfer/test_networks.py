"""Whole networks start a segmenter: encoder, decoder, and heads where they mean the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from hilum.core.checkpoints import EncoderConfig, state_of
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.settings import validate
from hilum.core.weights import read_weights
from hilum.encoders.decoders.pyramid import PyramidDecoder
from hilum.encoders.networks import (
    Network,
    NetworkConfig,
    Output,
    build_network,
    classes_of,
    read_network,
    reconstructions_of,
    save_network,
)
from hilum.finetune.transfer.heads import matches
from hilum.finetune.transfer.load import transfer
from hilum.finetune.transfer.settings import TransferSettings
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ...weights_files import put_weights

Make = Callable[..., SegmenterConfig]
ENCODER: dict[str, Any] = {"name": "resenc", "features": [4, 8, 12], "blocks": [1, 1, 1]}
SYNTHETIC = (
    Output(kind="synthetic", name="background"),
    Output(kind="synthetic", name="node"),
)


def settings(**changes: Any) -> TransferSettings:
    return validate(TransferSettings, changes)


def network(
    folder: Path,
    outputs: tuple[Output, ...],
    modalities: tuple[str, ...] = ("ct", "pet"),
    seed: int = 7,
) -> Network:
    """Write a network folder as pretraining does; return the network."""
    torch.manual_seed(seed)
    about = {
        "architecture": ENCODER,
        "modalities": modalities,
        "spacing": (4, 4, 4),
        "patch": (8, 8, 8),
        "pretext": {"name": "made"},
    }
    config = NetworkConfig(
        format=1,
        kind="network",
        encoder=validate(EncoderConfig, about),
        decoder={"name": "pyramid", "deep_supervision": True},
        outputs=outputs,
    )
    made = build_network(config)
    for level in made.decoder.head_rows():  # biases of an untrained head are alike
        for value in level.values():
            torch.nn.init.normal_(value)
    save_network(folder, made.encoder, made.decoder, config)
    made.encoder.eval()
    made.decoder.eval()
    return made


def image(*modalities: str) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    both = torch.randn(2, 2, 8, 12, 16, generator=generator)
    return both[:, [("ct", "pet").index(name) for name in modalities or ("ct", "pet")]]


ALL = torch.ones(2, 2, dtype=torch.bool)


@pytest.mark.parametrize("outputs", [SYNTHETIC, classes_of("Node")], ids=["synthetic", "class"])
def test_a_whole_network_in_early_fusion_is_that_network(
    outputs: tuple[Output, ...], config: Make, tmp_path: Path
) -> None:
    source = network(tmp_path / "network", outputs)
    segmenter = Segmenter(config()).eval()
    report = transfer(segmenter, tmp_path / "network", settings())
    assert_close(segmenter(image(), ALL)[0], source(image()), rtol=0, atol=1e-6)
    assert report.decoders["decoder"].covered == 1
    assert not report.decoders["decoder"].missing
    again = Segmenter(config()).eval()
    transfer(again, tmp_path / "network", settings(parts="whole"))
    assert_close(again(image(), ALL)[1], source.decoder(source.encoder(image()))[1])


def test_a_reconstruction_head_of_the_same_shape_is_not_a_class_head(
    config: Make, tmp_path: Path
) -> None:
    source = network(tmp_path / "network", reconstructions_of(("ct", "pet")))
    segmenter = Segmenter(config())
    heads = {n: v for n, v in state_of(segmenter.decoders["decoder"]).items() if "heads" in n}
    theirs = state_of(source.decoder)
    assert all(theirs[name].shape == value.shape for name, value in heads.items())
    report = transfer(segmenter, tmp_path / "network", settings())
    for name, value in heads.items():
        assert_close(state_of(segmenter.decoders["decoder"])[name], value, rtol=0, atol=0)
        why = report.decoders["decoder"].missing[name]
        assert "reconstruction ct, reconstruction pet there, class background, class node" in why
    own = state_of(segmenter.decoders["decoder"])
    assert_close(own["joins.0.0.weight"], theirs["joins.0.0.weight"], rtol=0, atol=0)
    with pytest.raises(CheckpointError, match="only where their outputs mean the same"):
        transfer(Segmenter(config()), tmp_path / "network", settings(parts="whole"))
    one = transfer(Segmenter(config()), tmp_path / "network", settings(parts="encoder"))
    assert not one.decoders


def test_classes_are_matched_by_name_and_a_new_one_starts_at_its_prior(
    config: Make, tmp_path: Path
) -> None:
    source = network(tmp_path / "network", classes_of("node", "tumour"))
    ours = config(classes=4, names=("tumour", "bone", "lymph node"), prior=0.02)
    segmenter = Segmenter(ours).eval()
    chosen = settings(classes={"lymph node": "node"})
    report = transfer(segmenter, tmp_path / "network", chosen)
    with torch.no_grad():
        theirs, found = source(image()), segmenter(image(), ALL)[0]
    background, node, tumour = theirs.unbind(1)
    for channel, expected in ((0, background), (1, tumour), (3, node)):
        assert_close(found[:, channel], expected, rtol=0, atol=1e-6)
    odds = (found[:, 2] - found[:, 0]).exp()
    assert_close(odds, torch.full_like(odds, 0.02 / (1 - 3 * 0.02)))
    assert "new at their prior: bone" in "".join(report.decoders["decoder"].adapted.values())
    without = Segmenter(ours).eval()
    report = transfer(without, tmp_path / "network", settings())
    assert "tumour from the source; new at their prior: bone, lymph node" in "".join(
        report.decoders["decoder"].adapted.values()
    )


def test_the_background_alone_is_no_match() -> None:
    assert not matches(classes_of("lesion"), classes_of("node"), {})
    assert matches(classes_of("lesion"), classes_of("Node"), {"node": "lesion"}) == {0: 0, 1: 1}
    assert not matches(reconstructions_of(("node",)), classes_of("node"), {})
    organ = (*classes_of("node"), Output(kind="organ", name="1"))
    assert matches(organ, (*classes_of("1"), organ[2]), {}) == {0: 0, 2: 2}


def test_networks_of_single_modalities_fill_late_and_cross_attention_fusion(
    config: Make, tmp_path: Path
) -> None:
    sources = {
        m: network(tmp_path / m, SYNTHETIC, (m,), seed) for seed, m in enumerate(("ct", "pet"))
    }
    folders = {m: str(tmp_path / m) for m in sources}
    late = Segmenter(config(fusion={"name": "late"})).eval()
    report = transfer(late, folders, settings())
    expected = torch.stack([sources[m](image(m)) for m in ("ct", "pet")]).mean(0)
    assert_close(late(image(), ALL)[0], expected, rtol=0, atol=1e-5)
    assert all(one.covered == 1 for one in report.decoders.values())
    cross = Segmenter(
        config(fusion={"name": "cross_attention", "heads": 2, "min_stride": 4})
    ).eval()
    report = transfer(cross, folders, settings())
    alone = torch.tensor([[True, False]] * 2)
    assert_close(cross(image(), alone)[0], sources["ct"](image("ct")), rtol=0, atol=1e-5)
    for name in ("ct", "pet"):
        ours = cross.encoders[name](image(name))[-1]
        assert_close(ours, sources[name].encoder(image(name))[-1])
    assert any("decoder decoder from that of ct" in note for note in report.notes)


def test_a_network_of_both_fills_late_fusion_with_its_slices(config: Make, tmp_path: Path) -> None:
    source = network(tmp_path / "network", SYNTHETIC)
    late = Segmenter(config(fusion={"name": "late"})).eval()
    transfer(late, tmp_path / "network", settings())
    masked = image()
    masked[:, 1] = 0
    alone = torch.tensor([[True, False]] * 2)
    assert_close(late(image(), alone)[0], source(masked), rtol=0, atol=1e-5)


def test_what_does_not_fit_is_in_the_report(config: Make, tmp_path: Path) -> None:
    network(tmp_path / "network", SYNTHETIC)
    concat = Segmenter(config(fusion={"name": "concat"}))
    report = transfer(concat, tmp_path / "network", settings())
    assert all(one.covered == 1 for one in report.encoders.values())
    assert report.decoders
    text = "\n".join(report.lines())
    assert "decoder " in text


@pytest.mark.parametrize("name", ["early", "late", "cross_attention", "gated"])
def test_a_segmenter_continues_as_it_was(name: str, config: Make, tmp_path: Path) -> None:
    fusion = {"name": name, **({"heads": 2, "min_stride": 4} if name == "cross_attention" else {})}
    torch.manual_seed(5)
    old = Segmenter(config(fusion=fusion)).eval()
    for value in old.parameters():
        torch.nn.init.normal_(value, std=0.3)
    old.save(tmp_path / "segmenter")
    torch.manual_seed(6)
    new = Segmenter(config(fusion=fusion)).eval()
    report = transfer(new, tmp_path / "segmenter", settings())
    for available in (ALL, torch.tensor([[True, False], [False, True]])):
        assert_close(new(image(), available), old(image(), available), rtol=0, atol=0)
    assert not [n for one in report.decoders.values() for n in one.missing]


def test_a_segmenter_gives_its_networks_to_another_fusion(config: Make, tmp_path: Path) -> None:
    late = Segmenter(config(fusion={"name": "late"})).eval()
    late.save(tmp_path / "late")
    single = Segmenter(
        config(modalities=("pet",), fusion={"name": "single", "modality": "pet"})
    ).eval()
    report = transfer(single, tmp_path / "late", settings())
    have = torch.ones(2, 1, dtype=torch.bool)
    pet = torch.tensor([[False, True]] * 2)
    assert_close(single(image("pet"), have), late(image(), pet), rtol=0, atol=1e-6)
    assert any("fusion" in note and "starts new" in note for note in report.notes)


def test_half_a_network_and_other_folders_are_refused(config: Make, tmp_path: Path) -> None:
    made = network(tmp_path / "network", SYNTHETIC)
    config_of = read_network(tmp_path / "network").config
    assert config_of.model_copy(update={"checksums": {}}) == made.config
    weights = read_weights(tmp_path / "network")
    half = {n: v for n, v in weights.items() if n.startswith("encoder.")}
    put_weights(tmp_path / "network", half)
    with pytest.raises(CheckpointError, match="no weights of the decoder"):
        transfer(Segmenter(config()), tmp_path / "network", settings())
    put_weights(tmp_path / "network", {n: v for n, v in weights.items() if "joins.1" not in n})
    with pytest.raises(CheckpointError, match="must belong together"):
        read_network(tmp_path / "network")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="encoder, network or segmenter folder"):
        transfer(Segmenter(config()), tmp_path / "empty", settings())


def test_a_folder_per_modality_must_have_seen_it(config: Make, tmp_path: Path) -> None:
    network(tmp_path / "ct", SYNTHETIC, ("ct",))
    with pytest.raises(CheckpointError, match="must hold an encoder that saw pet"):
        transfer(Segmenter(config()), {"pet": tmp_path / "ct"}, settings())


def test_names_of_classes_are_checked(config: Make) -> None:
    assert [str(o) for o in Segmenter(config(classes=3)).outputs] == [
        "class background",
        "class class 1",
        "class class 2",
    ]
    for names in (("a",), ("a", "A"), ("background", "b")):
        with pytest.raises(SettingsError, match="names must"):
            config(classes=3, names=names)


def test_a_decoder_of_another_architecture_is_refused(config: Make, tmp_path: Path) -> None:
    network(tmp_path / "network", SYNTHETIC)
    segmenter = Segmenter(config(decoder={"name": "linear"}, deep_supervision=False))
    with pytest.raises(CheckpointError, match="must fit that of the folder"):
        transfer(segmenter, tmp_path / "network", settings(parts="encoder+decoder"))
    assert not isinstance(segmenter.decoders["decoder"], PyramidDecoder)
