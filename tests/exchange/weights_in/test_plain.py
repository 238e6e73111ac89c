"""Any state dict: names below another prefix, or by the user's rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from hilum.core.checkpoints import EncoderConfig, save_encoder, state_of
from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.registry import build
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.exchange.weights_in import SOURCES
from hilum.exchange.weights_in.importing import import_weights

SPEC = {"name": "resenc", "features": [4, 8], "blocks": [1, 1]}


def encoder() -> Encoder:
    return build(ENCODERS, SPEC, in_channels=1).eval()


def same(ours: Encoder, theirs: Encoder) -> None:
    x = torch.randn(1, 1, 4, 6, 8)
    for one, other in zip(ours(x), theirs(x), strict=True):
        assert_close(one, other, rtol=0, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "net.student.", "inner."])
def test_another_prefix_is_found_by_itself(tmp_path: Path, rebuilt, prefix: str) -> None:
    source = encoder()
    state = {prefix + n.removeprefix("inner."): v for n, v in state_of(source).items()}
    save_file(state | {"head.bias": torch.ones(2)}, tmp_path / "w.safetensors")
    folder, report = import_weights(
        "plain", tmp_path / "w.safetensors", tmp_path / "e", modalities=["ct"], architecture=SPEC
    )
    same(rebuilt(folder), source)
    assert report.unexpected == ["head.bias"]


def test_rules_rename_what_no_prefix_can(tmp_path: Path, rebuilt) -> None:
    source = encoder()
    state = {
        n.replace("inner.stages.", "level_").replace("inner.stem", "first"): v
        for n, v in state_of(source).items()
    }
    torch.save(state, tmp_path / "w.pt")
    folder, _ = import_weights(
        "plain", tmp_path / "w.pt", tmp_path / "e", modalities=["ct"], architecture=SPEC,
        rename={r"level_(.*)": r"inner.stages.\1", r"first(.*)": r"inner.stem\1"},
    )  # fmt: skip
    same(rebuilt(folder), source)


def test_half_the_keys_renamed_is_an_error_that_counts_them(tmp_path: Path) -> None:
    state: dict[str, Tensor] = {}
    for number, (name, value) in enumerate(state_of(encoder()).items()):
        state[name if number % 2 else f"renamed_{number}.{name}x"] = value
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"must cover 90%.*of the parameters") as error:
        import_weights("plain", tmp_path / "w.pt", tmp_path / "e", modalities=["ct"],
                       architecture=SPEC)  # fmt: skip
    assert error.value.remedy
    assert not (tmp_path / "e").exists()


def test_rules_for_a_source_that_knows_its_names_are_refused(tmp_path: Path) -> None:
    file = SOURCES["ct_fm"]().example(tmp_path)
    assert file is not None
    with pytest.raises(SettingsError, match="--rename is for plain"):
        import_weights("auto", file, tmp_path / "e", modalities=["ct"], rename={"a": "b"})
    assert not (tmp_path / "e").exists()


def test_a_wrong_rule_is_one_clear_error(tmp_path: Path) -> None:
    torch.save(state_of(encoder()), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="rename must be regular expressions"):
        import_weights("plain", tmp_path / "w.pt", tmp_path / "e", modalities=["ct"],
                       architecture=SPEC, rename={"inner(": "x"})  # fmt: skip


def test_the_architecture_must_be_given_but_for_our_own_folders(tmp_path: Path, rebuilt) -> None:
    source = encoder()
    torch.save(state_of(source), tmp_path / "w.pt")
    with pytest.raises(SettingsError, match="needs the architecture"):
        import_weights("plain", tmp_path / "w.pt", tmp_path / "e", modalities=["ct"])
    config = EncoderConfig(
        architecture=SPEC, modalities=("ct",), spacing=(3, 2, 1), patch=(8, 8, 8)
    )
    own = save_encoder(tmp_path / "own", source, config)
    folder, _ = import_weights("plain", own, tmp_path / "e", modalities=["ct"])
    same(rebuilt(folder), source)
