"""Any state dict: names below another prefix, or by the user's rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.testing import assert_close

from hilum.core.case import Case
from hilum.core.checkpoints import EncoderConfig, read_config, save_encoder, state_of
from hilum.core.errors import CheckpointError, DataError, SettingsError
from hilum.core.files import write_json
from hilum.core.geometry import Grid
from hilum.core.input_scale import scale_of
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.leakage import check_unseen, seen_in
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.run import PrepareSettings, prepare
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.networks import (
    NetworkConfig,
    make_decoder,
    reconstructions_of,
    save_network,
)
from hilum.exchange.networks_out.exporting import export
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


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """One patient, whose CT was pretrained on."""
    folder = tmp_path_factory.mktemp("cohort")
    values = np.random.default_rng(0).normal(40, 20, (8, 10, 12)).astype(np.float32)
    file = write_volume(folder / "ct.nii.gz", values, Grid.from_spacing((8, 10, 12), (4, 4, 4)))
    case = Case("anna_a", "anna", {"ct": file}, None, "", "")
    manifest = write_manifest(folder / "manifest.csv", [case])
    return prepare(manifest, folder / "store", validate(PrepareSettings, {"spacing": (4, 4, 4)}))


def own_folder(folder: Path, kind: str, store: CaseStore) -> tuple[Encoder, EncoderConfig, Path]:
    """An encoder of CT windows and PET z-scores, in one of the forms that hilum writes."""
    made = build(ENCODERS, SPEC, in_channels=2).eval()
    values = {
        "architecture": SPEC,
        "modalities": ("ct", "pet"),
        "spacing": (3, 2, 1),
        "patch": (8, 16, 24),
        "intensity": {"ct": scale_of("ct"), "pet": scale_of("pet", "zscore")},
        "pretext": {"name": "mae", "masked": 0.6},
        "data_hash": "abc",
        "licence": "CC-BY-NC-4.0",
        "seen": seen_in(store, store.ids),
        "extra": {"study": "one"},
    }
    about = validate(EncoderConfig, values)
    if kind == "network":
        config = NetworkConfig(
            format=1, kind="network", encoder=about, decoder={"name": "pyramid"},
            outputs=reconstructions_of(about.modalities),
        )  # fmt: skip
        decoder = make_decoder(config.decoder, made, 2)
        return made, about, save_network(folder, made, decoder, config)
    save_encoder(folder, made, about)
    if kind == "encoder":
        return made, about, folder
    return made, about, export(folder, "state_dict", folder.with_name("state")) / "model.pt"


@pytest.mark.parametrize("architecture", [{}, SPEC], ids=["as it says", "given"])
@pytest.mark.parametrize("kind", ["encoder", "network", "model.pt"])
def test_what_hilum_wrote_is_kept_and_its_patients_still_may_not_test(
    tmp_path: Path, rebuilt, store: CaseStore, kind: str, architecture: dict
) -> None:
    source, before, file = own_folder(tmp_path / "own", kind, store)
    folder, _ = import_weights(
        "plain", file, tmp_path / "e", modalities=["pet", "ct"], architecture=architecture
    )
    x = torch.randn(1, 2, 4, 6, 8)
    for one, other in zip(rebuilt(folder)(x.flip(1)), source(x), strict=True):
        assert_close(one, other, rtol=0, atol=1e-5)
    after = read_config(folder)
    assert after.modalities == ("pet", "ct")
    for key in ("spacing", "patch", "intensity", "pretext", "data_hash", "licence", "seen"):
        assert getattr(after, key) == getattr(before, key), key
    assert after.extra["study"] == "one"
    with pytest.raises(DataError, match=r"no test patient may have been learned from.*anna"):
        check_unseen(folder, store, store.ids)


def test_a_segmenter_is_no_file_to_import(tmp_path: Path) -> None:
    """Whom it learned from would be lost, and which of its encoders saw what."""
    save_file(state_of(encoder()), tmp_path / "model.safetensors")
    write_json(tmp_path / "config.json", {"fusion": {"name": "early"}, "modalities": ["ct"]})
    for architecture in ({}, SPEC):
        with pytest.raises(CheckpointError, match=r"segmenter of hilum needs no import.*init_from"):
            import_weights("plain", tmp_path, tmp_path / "e", modalities=["ct"],
                           architecture=architecture)  # fmt: skip
    assert not (tmp_path / "e").exists()
