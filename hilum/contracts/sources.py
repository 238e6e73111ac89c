"""What every source of weights must keep; run by pytest, once for each `name`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hilum.core.errors import CheckpointError, UserError
from hilum.core.weights import read_weights
from hilum.exchange.weights_in import SOURCES
from hilum.exchange.weights_in.importing import fill, import_weights, recognise
from hilum.exchange.weights_in.reading import ForeignFile, read_foreign
from hilum.exchange.weights_in.source import Request

TABLE = SOURCES
WORD: dict[str, Tensor] = {"weight": torch.zeros(2, 1, 3, 3, 3)}
STRANGE: dict[str, tuple[dict[str, Tensor], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "a number": ({"steps": torch.tensor(3)}, {}),
    "a linear layer": ({"fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3)}, {}),
    "one word": (WORD, {}),
    "settings in a word": (WORD, {"config": "resnet18", "init_args": "plans"}),
    "settings in a list": (WORD, {"config": ["resnet18"], "init_args": [1]}),
    "settings in a number": (WORD, {"config": 18, "init_args": 2.5}),
}
"""Files of no source: their tensors, and what else is in them."""


@pytest.fixture(scope="session")
def written() -> dict[str, Path | None]:
    """Return the examples that were written already: the checks only read them."""
    return {}


@pytest.fixture
def example(
    name: str, written: dict[str, Path | None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Write the source's own example, or skip the check."""
    if name not in written:
        written[name] = SOURCES[name]().example(tmp_path_factory.mktemp("example"))
    file = written[name]
    if file is None:
        pytest.skip("it has no example")
    return file


def by_name_alone(name: str) -> bool:
    return name == "plain"


def test_it_says_in_a_line_what_it_is_and_how_to_get_a_file(name: str) -> None:
    """Home and licence may differ from file to file, and are empty then."""
    source = SOURCES[name]
    for text in (source.title, source.home, source.licence, source.obtain):
        assert "\n" not in text
    assert source.title.strip()
    assert source.obtain.strip()


def test_files_of_nobody_are_not_of_it(name: str, tmp_path: Path) -> None:
    """`auto` asks each source about any file: none may fail on, or take, what it does not know."""
    if by_name_alone(name):
        pytest.skip("it is used by its name alone")
    for what, (tensors, about) in STRANGE.items():
        foreign = ForeignFile(tmp_path / "x.pt", "a state dict", dict(tensors), about=dict(about))
        assert SOURCES[name]().recognise(foreign) == "", what


def test_its_example_is_known_as_its_own(name: str, example: Path) -> None:
    named = ":" in name or by_name_alone(name)
    found, why = recognise(read_foreign(example), name if named else "auto")
    assert found == name
    assert why.strip()
    assert "\n" not in why


def test_every_number_of_the_encoder_comes_from_its_example(name: str, example: Path) -> None:
    """And each learned tensor of the file is used, or named as unused; tables follow from sizes."""
    foreign = read_foreign(example)
    before = {key: value.clone() for key, value in foreign.tensors.items()}
    done = fill(foreign, Request(("ct",)), name)
    assert done.report.covered >= 0.99, done.report.lines()
    told = set(done.recipe.unused) | set(done.recipe.whole.names if done.recipe.whole else ())
    assert told <= set(before)
    learned = {key for key, value in before.items() if value.is_floating_point()}
    assert len(done.recipe.weights) >= len(learned - told)
    assert foreign.tensors.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(foreign.tensors[key], value), f"{key} of the file was changed"


def test_what_is_imported_is_what_the_file_holds(name: str, example: Path, tmp_path: Path) -> None:
    """Each number of the encoder stands in the file: as often, if not under the same name."""
    foreign = read_foreign(example)
    done = fill(foreign, Request(("ct",)), name)
    folder, report = import_weights(name, example, tmp_path / "encoder", modalities=("ct",))
    weights = read_weights(folder)
    assert report.covered == done.report.covered
    there = {_digest(value) for value in foreign.tensors.values()}
    for key in done.report.loaded:
        assert _digest(weights[key]) in there, f"{key} is not in the file"


def test_two_modalities_get_a_stem_of_two_channels(
    name: str, example: Path, tmp_path: Path
) -> None:
    folder, _ = import_weights(name, example, tmp_path / "encoder", modalities=("ct", "pet"))
    done = fill(read_foreign(example), Request(("ct", "pet")), name)
    weights = read_weights(folder)
    # A kernel that the encoder holds under several names is written once.
    stem = [weights[key] for key in done.encoder.stem if key in weights]
    assert stem
    for kernel in stem:
        assert kernel.shape[1] == 2


def test_tensors_that_do_not_fit_together_are_refused_in_one_line(
    name: str, example: Path, tmp_path: Path
) -> None:
    """Each with half of its rows, and all of its columns; a folder keeps its other files."""
    half = {
        key: value[: len(value) // 2].clone() if value.ndim else value
        for key, value in read_foreign(example).tensors.items()
    }
    place = tmp_path / "half.pt"
    if example.is_dir():
        shutil.copytree(example, place)
        save_file(half, place / "model.safetensors")
    else:
        torch.save(half, place)
    with pytest.raises(UserError) as caught:
        import_weights(name, place, tmp_path / "encoder", modalities=("ct",))
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "encoder").exists()


def _digest(value: Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(value.shape), value.detach().float().numpy().tobytes()
