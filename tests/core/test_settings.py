"""Settings merge in order, and a mistake is named in one line with the nearest known key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, model_validator

from hilum.core.errors import SettingsError
from hilum.core.methods import Method, methods_of
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


class WithMethod(Settings):
    """A method, and a word of the same name."""

    loss: Annotated[dict[str, Any], Method("losses")] = Field({"name": "a"})
    network: Annotated[dict[str, Any], Method("encoders")] | None = None
    word: str = ""


@pytest.mark.parametrize("key", ["loss", "network"])
def test_a_name_is_short_for_a_method(tmp_path: Path, key: str) -> None:
    (tmp_path / "a.yaml").write_text(f"{key}: b\nword: b\n")
    file = [tmp_path / "a.yaml"]
    assert getattr(load(WithMethod, file), key) == {"name": "b"}
    assert getattr(load(WithMethod, file, [f"{key}.x=1"]), key) == {"name": "b", "x": 1}
    assert getattr(load(WithMethod, file, [f"{key}.x=1", f"{key}=b"]), key) == {"name": "b", "x": 1}
    assert getattr(load(WithMethod, file, [f"{key}.x=1", f"{key}=c"]), key) == {"name": "c"}
    assert getattr(load(WithMethod, [], [], **{key: "b"}), key) == {"name": "b"}
    assert getattr(WithMethod.model_validate({key: "b"}), key) == {"name": "b"}
    assert load(WithMethod, file).word == "b"
    assert methods_of(WithMethod) == {"loss": "losses", "network": "encoders"}
    with pytest.raises(SettingsError, match=f"^{key}: input should be a valid dictionary"):
        load(WithMethod, [], [f"{key}=3"])
    jsonschema = WithMethod.model_json_schema()["properties"][key]
    assert "'string'" in str(jsonschema)


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
    with pytest.raises(SettingsError, match=r"none\.yaml: no such settings file"):
        load(Train, [tmp_path / "none.yaml"])


class Range(Settings):
    """A group with a rule on two of its settings."""

    low: float = 0
    high: float = 1
    names: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _order(self) -> Range:
        if self.low > self.high:
            raise ValueError("low must not be above high")
        return self


class Ranges(Settings):
    """Two groups."""

    a: Range = Range()


def test_a_rule_on_several_settings_names_the_group_and_does_not_print_it() -> None:
    with pytest.raises(SettingsError) as all_of_it:
        load(Range, [], ["low=2"])
    assert str(all_of_it.value) == "low must not be above high"
    with pytest.raises(SettingsError) as in_a_group:
        load(Ranges, [], ["a.low=2"])
    assert str(in_a_group.value) == "a: low must not be above high"


def test_a_long_wrong_value_is_cut() -> None:
    with pytest.raises(SettingsError) as error:
        load(Range, [], low="x" * 500)
    assert "found 'xxx" in str(error.value)
    assert 80 < len(str(error.value)) < 200
