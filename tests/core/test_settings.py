"""Settings merge in order, and a mistake is named in one line with the nearest known key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from hilum.core.errors import SettingsError
from hilum.core.settings import Settings, load, read_yaml, write_yaml


class Net(Settings):
    """A group."""

    fusion: Literal["early", "late"] = "early"
    heads: int = Field(4, ge=1)


class Train(Settings):
    """All settings."""

    lr: float = Field(1e-3, gt=0)
    net: Net = Net()
    spec: dict[str, Any] = Field({"name": "a", "depth": 1})


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lr: 1e-2\nnet: {heads: 2}\n")
    settings = load(Train, [tmp_path / "a.yaml"], ["net.fusion=late", "lr=1e-4"], lr=5)
    assert settings == Train(lr=1e-4, net=Net(fusion="late", heads=2))


def test_naming_another_method_drops_the_parameters_of_the_first() -> None:
    settings = load(Train, [], ["spec.name=b"], spec={"name": "a", "depth": 3})
    assert settings.spec == {"name": "b"}


def test_written_settings_read_back_equal(tmp_path: Path) -> None:
    settings = load(Train, [], ["lr=3e-4"])
    write_yaml(tmp_path / "c.yaml", settings)
    assert load(Train, [tmp_path / "c.yaml"]) == settings


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("mode=on", "on"),  # YAML's truth
        ("mode=off", "off"),
        ("mode=32", "32"),  # YAML's integer
        ("mode='32'", "32"),
        ("mode=64", 64),  # a choice that is a number
        ("mode=null", None),
    ],
)
def test_words_are_taken_as_written(override: str, word: object) -> None:
    class Choice(Settings):
        mode: Literal["on", "off", "32", 64] | None = "off"
        plain: Literal["no", "32"] = "no"
        title: str = ""

    chosen = load(Choice, [], [override, "plain=no", "title=12"])
    assert chosen.mode == word
    assert type(chosen.mode) is type(word)
    assert (chosen.plain, chosen.title) == ("no", "12")
    with pytest.raises(SettingsError, match=r"mode: input should be .* found 33"):
        load(Choice, [], ["mode=33"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("net.fusio=late", "net.fusio: unknown setting, did you mean 'fusion'?"),
        ("net.fusion=lat", "net.fusion: input should be 'early' or 'late', found 'lat'"),
        ("net.heads=0", "net.heads: input should be greater than or equal to 1, found 0"),
        ("lr=abc", "lr: input should be a valid number.*found 'abc'"),
        ("lr", "must be written key=value, found 'lr'"),
        ("lr=[1", "lr must be a YAML value"),
        (
            "lr={GTVn?*: 1}",
            r"found '\{GTVn?\*: 1\}': .*put names with signs such as ? in double quotes",
        ),
    ],
)
def test_a_mistake_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace("?", r"\?")) as caught:
        load(Train, [], [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- 1\n", "a: [1\n", "a: \x00"])
def test_a_file_that_is_no_settings_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"bad\.yaml: the settings file must"):
        read_yaml(tmp_path / "bad.yaml")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.yaml: the settings file must exist"):
        load(Train, [tmp_path / "none.yaml"])
