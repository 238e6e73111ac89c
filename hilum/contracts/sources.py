"""What every source of weights must keep; run by pytest, once for each `name`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from hilum.core.errors import CheckpointError, UserError
from hilum.core.weights import read_weights
from hilum.exchange.weights_in import SOURCES
from hilum.exchange.weights_in.importing import fill, import_weights, recognise
from hilum.exchange.weights_in.reading import ForeignFile, read_foreign
from hilum.exchange.weights_in.source import Request

TABLE = SOURCES
STRANGE: dict[str, dict[str, Tensor]] = {
    "nothing": {},
    "a number": {"steps": torch.tensor(3)},
    "a linear layer": {"fc.weight": torch.zeros(3, 4), "fc.bias": torch.zeros(3)},
    "one word": {"weight": torch.zeros(2, 1, 3, 3, 3)},
}
"""Files of no source."""


def example_of(name: str, folder: Path) -> Path:
    """Write the source's own example, or skip the check."""
    folder.mkdir()
    file = SOURCES[name]().example(folder)
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
    for what, tensors in STRANGE.items():
        foreign = ForeignFile(tmp_path / "x.pt", "a state dict", dict(tensors))
        assert SOURCES[name]().recognise(foreign) == "", what


def test_its_example_is_known_as_its_own(name: str, tmp_path: Path) -> None:
    foreign = read_foreign(example_of(name, tmp_path / "raw"))
    found, why = recognise(foreign, name if ":" in name else "auto")
    assert found == name
    assert why.strip()
    assert "\n" not in why


def test_every_number_of_the_encoder_comes_from_its_example(name: str, tmp_path: Path) -> None:
    """And each tensor of the file is used, or named as unused."""
    foreign = read_foreign(example_of(name, tmp_path / "raw"))
    before = {key: value.clone() for key, value in foreign.tensors.items()}
    done = fill(foreign, Request(("ct",)), name)
    assert done.report.covered >= 0.99, done.report.lines()
    told = set(done.recipe.unused) | set(done.recipe.whole.names if done.recipe.whole else ())
    assert told <= set(before)
    assert len(done.recipe.weights) >= len(before) - len(told)
    assert foreign.tensors.keys() == before.keys()
    for key, value in before.items():
        assert torch.equal(foreign.tensors[key], value), f"{key} of the file was changed"


def test_what_is_imported_is_what_the_file_holds(name: str, tmp_path: Path) -> None:
    """Each number of the encoder stands in the file: as often, if not under the same name."""
    file = example_of(name, tmp_path / "raw")
    foreign = read_foreign(file)
    done = fill(foreign, Request(("ct",)), name)
    folder, report = import_weights(name, file, tmp_path / "encoder", modalities=("ct",))
    weights = read_weights(folder)
    assert report.covered == done.report.covered
    there = {_digest(value) for value in foreign.tensors.values()}
    for key in done.report.loaded:
        assert _digest(weights[key]) in there, f"{key} is not in the file"


def test_two_modalities_get_a_stem_of_two_channels(name: str, tmp_path: Path) -> None:
    file = example_of(name, tmp_path / "raw")
    folder, _ = import_weights(name, file, tmp_path / "encoder", modalities=("ct", "pet"))
    done = fill(read_foreign(file), Request(("ct", "pet")), name)
    weights = read_weights(folder)
    for key in done.encoder.stem:
        assert weights[key].shape[1] == 2


def test_tensors_that_do_not_fit_together_are_refused_in_one_line(
    name: str, tmp_path: Path
) -> None:
    """Each with half of its rows, and all of its columns."""
    foreign = read_foreign(example_of(name, tmp_path / "raw"))
    half = {
        key: value[: len(value) // 2].clone() if value.ndim else value
        for key, value in foreign.tensors.items()
    }
    torch.save(half, tmp_path / "half.pt")
    with pytest.raises(UserError) as caught:
        import_weights(name, tmp_path / "half.pt", tmp_path / "encoder", modalities=("ct",))
    assert isinstance(caught.value, CheckpointError)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "encoder").exists()


def _digest(value: Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(value.shape), value.detach().float().numpy().tobytes()
