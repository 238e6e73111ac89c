"""An import is recognised, reported and refused in words that a user can act on."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from hilum.core.checkpoints import read_config, state_of
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.exchange.weights_in.importing import SOURCES, fill, import_weights, recognise
from hilum.exchange.weights_in.reading import read_foreign
from hilum.exchange.weights_in.source import Request, WeightSource

SPEC = {"name": "resenc", "features": [4, 8], "blocks": [1, 2]}
ROOT = Path(__file__).parents[3]


def saved(path: Path, prefix: str = "encoder.", spec: dict = SPEC, **more: Tensor) -> Path:
    state = state_of(build(ENCODERS, spec, in_channels=1))
    names = {prefix + name.removeprefix("inner."): value for name, value in state.items()}
    torch.save({"network_weights": names | more}, path)
    return path


def test_the_name_of_a_source_is_its_address() -> None:
    for name in SOURCES:
        assert issubclass(SOURCES[name], WeightSource)
        assert SOURCES[name].__module__ == f"hilum.exchange.weights_in.{name}"
        assert SOURCES[name].title
        assert (ROOT / "tests" / "exchange" / "weights_in" / f"test_{name}.py").exists()
        importlib.import_module(f"hilum.exchange.weights_in.{name}")


def test_the_folder_tells_where_it_comes_from(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.pth", **{"decoder.head.weight": torch.ones(2)})
    folder, report = import_weights(
        "auto", file, tmp_path / "e", modalities=["ct", "pet"], spacing=(3, 2, 1)
    )
    config = read_config(folder)
    imported = config.extra["imported"]
    assert config.modalities == ("ct", "pet")
    assert config.spacing == (3, 2, 1)
    assert imported["file"] == "w.pth"
    assert len(imported["sha256"]) == 64
    assert "repeated and divided by 2" in imported["channels"]["inner.stem.convs.0.conv.weight"]
    written = json.loads((folder / "load_report.json").read_text())
    assert written == report.as_json()
    assert written["unexpected"] == ["decoder.head.weight"]
    assert written["covered"] == 1


def test_the_result_is_the_same_every_time(tmp_path: Path) -> None:
    """What a file lacks starts from a fixed seed, and the caller's randomness is left alone."""
    file = tmp_path / "p.pth"
    spec = {"name": "primus", "width": 48, "depth": 1, "heads": 4, "trained": 16}
    state = state_of(build(ENCODERS, spec, in_channels=1))
    torch.save({n.removeprefix("inner."): v for n, v in state.items() if "pyramid" not in n}, file)
    heads = {"heads": 4}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, report = import_weights(
        "auto", file, tmp_path / "a", modalities=["ct"], architecture=heads
    )
    assert_close(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, _ = import_weights("auto", file, tmp_path / "b", modalities=["ct"], architecture=heads)
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    assert report.fresh
    assert report.covered == 1


def test_an_unknown_source_and_a_wrong_one_are_told(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.pth")
    with pytest.raises(SettingsError, match="did you mean 'nnunet'"):
        import_weights("nnunets", file, tmp_path / "e", modalities=["ct"])
    with pytest.raises(CheckpointError, match=r"must be of voco, found one of nnunet"):
        import_weights("voco", file, tmp_path / "e", modalities=["ct"])
    torch.save({"x": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(
        CheckpointError, match=r"known source, found 1 tensors such as x; use plain"
    ):
        import_weights("auto", tmp_path / "x.pt", tmp_path / "e", modalities=["ct"])


@pytest.mark.parametrize("modalities", [[], ["ct", "ct"], ["xray"]])
def test_modalities_must_be_known_and_distinct(tmp_path: Path, modalities: list[str]) -> None:
    with pytest.raises(SettingsError):
        import_weights("auto", tmp_path / "w.pt", tmp_path / "e", modalities=modalities)


@pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0)])
def test_spacing_must_be_three_numbers_above_0(tmp_path: Path, spacing: tuple[float, ...]) -> None:
    with pytest.raises(SettingsError, match="three numbers above 0"):
        import_weights("auto", saved(tmp_path / "w.pth"), tmp_path / "e", modalities=["ct"],
                       spacing=spacing)  # fmt: skip


def test_another_size_is_suggested(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="names fit but sizes do not") as error:
        import_weights("auto", file, tmp_path / "e", modalities=["ct"],
                       architecture={"features": [6, 12]})  # fmt: skip
    assert "give another size" in str(error.value.remedy)
    assert not (tmp_path / "e").exists()


@pytest.mark.parametrize(
    "prefix",
    ["deep.net.", "network.", "nnunet.", "encoder_decoder.", "student.", "model.encoder.", "a+b."],
)
def test_a_wrong_prefix_is_suggested_with_the_rule_that_mends_it(
    tmp_path: Path, rebuilt, prefix: str
) -> None:
    file = saved(tmp_path / "w.pth", prefix=prefix)
    with pytest.raises(CheckpointError) as error:
        import_weights("plain", file, tmp_path / "e", modalities=["ct"], architecture=SPEC,
                       rename={"wrong": "wrong"})  # fmt: skip
    remedy = str(error.value.remedy)
    assert f"names begin with {prefix!r} where ours begin with 'inner.'" in remedy
    assert rf"use plain with rename {re.escape(prefix)}(.*)=inner.\1" in remedy
    old, new = remedy.rsplit(" ", 1)[1].split("=")
    folder, report = import_weights("plain", file, tmp_path / "e", modalities=["ct"],
                                    architecture=SPEC, rename={old: new})  # fmt: skip
    assert report.covered == 1
    rebuilt(folder)


def test_half_the_names_changed_is_told_with_the_count(tmp_path: Path) -> None:
    state = state_of(build(ENCODERS, SPEC, in_channels=1))
    mixed = {
        ("encoder." + name.removeprefix("inner.") if number % 2 else f"odd{number}.{number}"): value
        for number, (name, value) in enumerate(state.items())
    }
    # The names by which the file is known and measured stay.
    for name in (
        "stem.convs.0.conv.weight",
        *(f"stages.{s}.blocks.0.conv1.conv.weight" for s in (0, 1)),
    ):
        mixed[f"encoder.{name}"] = state[f"inner.{name}"]
    torch.save(mixed, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"must cover 90%.*such as inner\.stem") as error:
        import_weights("auto", tmp_path / "w.pt", tmp_path / "e", modalities=["ct"],
                       architecture=SPEC)  # fmt: skip
    assert error.value.exit_code == 2
    assert not (tmp_path / "e").exists()


def test_a_decoder_alone_is_told(tmp_path: Path) -> None:
    torch.save({"decoder.up.weight": torch.ones(2, 2, 3, 3, 3)}, tmp_path / "d.pt")
    with pytest.raises(CheckpointError, match="a decoder or heads only"):
        import_weights("plain", tmp_path / "d.pt", tmp_path / "e", modalities=["ct"],
                       architecture=SPEC)  # fmt: skip


def test_2d_weights_without_a_rule_are_told(tmp_path: Path) -> None:
    flat = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3))
    torch.save(flat.state_dict(), tmp_path / "flat.pt")
    with pytest.raises(CheckpointError, match=r"2D network.*timm_hub"):
        import_weights("plain", tmp_path / "flat.pt", tmp_path / "e", modalities=["ct"],
                       architecture=SPEC)  # fmt: skip


def test_a_lower_threshold_lets_a_part_pass_and_reports_the_rest(tmp_path: Path) -> None:
    file = saved(tmp_path / "w.pth")
    folder, report = import_weights(
        "auto", file, tmp_path / "e", modalities=["ct"], threshold=0.1,
        architecture={"blocks": [1, 3]},
    )  # fmt: skip
    assert 0.1 < report.covered < 1
    assert all(name.startswith("inner.stages.1.blocks.2.") for name in report.missing)
    assert json.loads((folder / "load_report.json").read_text())["missing"] == report.missing


def test_an_old_folder_survives_a_failed_import(tmp_path: Path) -> None:
    folder, _ = import_weights("auto", saved(tmp_path / "a.pth"), tmp_path / "e", modalities=["ct"])
    before = (folder / "model.safetensors").read_bytes()
    torch.save({"x": torch.ones(2)}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError):
        import_weights("auto", tmp_path / "x.pt", folder, modalities=["ct"])
    assert (folder / "model.safetensors").read_bytes() == before


def test_recognition_says_why_and_filling_writes_nothing(tmp_path: Path) -> None:
    foreign = read_foreign(saved(tmp_path / "w.pth"))
    assert recognise(foreign) == ("nnunet", "names are those of nnU-Net's U-Net: encoder.stages")
    done = fill(foreign, Request(("ct",)))
    assert done.report.covered == 1
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_finetuning_takes_the_folder(tmp_path: Path) -> None:
    """The hand-over is the encoder folder: every encoder of a segmenter is covered in full."""
    from hilum.finetune.transfer.load import transfer
    from hilum.finetune.transfer.settings import TransferSettings
    from hilum.segmenter.config import SegmenterConfig
    from hilum.segmenter.segmenter import Segmenter

    folder, _ = import_weights(
        "auto", saved(tmp_path / "w.pth"), tmp_path / "e", modalities=["ct", "pet"]
    )
    config = SegmenterConfig.model_validate(
        {
            "encoder": read_config(folder).architecture,
            "fusion": {"name": "early"},
            "modalities": ["ct", "pet"],
            "classes": 2,
            "spacing": [1.5, 1.5, 1.5],
            "patch": [8, 8, 8],
        }
    )
    report = transfer(Segmenter(config), folder, TransferSettings.model_validate({}))
    assert report.covered == 1
