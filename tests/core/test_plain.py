"""YAML and JSON from anywhere: plain values, or one short line; never a traceback or a flood."""

from __future__ import annotations

import json
import random
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import Field
from typing_extensions import TypedDict

from hilum.core.errors import SettingsError, UserError
from hilum.core.files import read_json, read_object, read_rows
from hilum.core.plain import DEEPEST, MOST, PlainError, check_shape, json_of, yaml_of
from hilum.core.settings import Settings, load, read_yaml

LAUGHS = "a: &a [l, l, l, l, l, l, l, l, l, l]\n" + "".join(
    f"{chr(97 + n + 1)}: &{chr(97 + n + 1)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n"
    for n in range(9)
)
MERGED = "a: &a {x: 1, y: 2}\n" + "".join(
    f"k{n}: &k{n} {{<<: [{', '.join(['*a' if n == 0 else f'*k{n - 1}'] * 10)}]}}\n"
    for n in range(9)
)

BAD_YAML = {
    "billion laughs": (LAUGHS, "aliases counted in full in line"),
    "billion merges": (MERGED, "aliases counted in full in line"),
    "a list in itself": ("a: &a [1, *a]", "holds itself in line 1"),
    "a mapping in itself": ("a: &a {b: *a}", "holds itself in line 1"),
    "a merge of itself": ("a: &a {<<: *a, x: 1}", "in line 1"),
    "deep lists": ("[" * 5000, f"more than {DEEPEST} levels"),
    "deep mappings": ("{a: " * 5000, f"more than {DEEPEST} levels"),
    "deep blocks": ("".join(f"{' ' * n}- \n" for n in range(200)), f"more than {DEEPEST}"),
    "too many digits": ("a: " + "9" * 5000, "digits"),
    "too many bits": ("a: " + "9" * 30, "64 are the most"),
    "hexadecimal bits": ("a: 0x" + "f" * 30, "64 are the most"),
    "a set": ("a: !!set {x, y}", "of the kind set in line 1"),
    "a binary": ("a: !!binary aGk=", "of the kind binary in line 1"),
    "an ordered map": ("a: !!omap [x: 1]", "of the kind omap in line 1"),
    "an asked date": ("a: !!timestamp 2024-01-01", "of the kind timestamp in line 1"),
    "an object": ("a: !!python/object/apply:os.system [echo]", "in line 1"),
    "a mark of another": ("a: !mine 1", "of the kind !mine in line 1"),
    "a list as key": ("? [1, 2]\n: x", "no word in line 1"),
    "nothing as key": ("~: 1\nx: 2", "no word in line 1"),
    "a key twice": ("a: 1\nb: 2\na: 3", "the key 'a' twice in line 3"),
    "half of a pair": ('a: "\\ud800"', "half of a pair"),
    "a control character": ("a: \x07", "unacceptable character"),
    "two documents": ("a: 1\n---\nb: 2", "document"),
    "an unknown alias": ("a: *b", "undefined alias"),
    "a wrong integer": ("a: !!int x", "x"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_beyond_the_limits_is_one_line_at_once(tmp_path: Path, name: str) -> None:
    text, words = BAD_YAML[name]
    (tmp_path / "a.yaml").write_text(text)
    began = time.monotonic()
    with pytest.raises(SettingsError) as caught:
        read_yaml(tmp_path / "a.yaml")
    assert time.monotonic() - began < 5
    line = str(caught.value)
    assert words in line, line
    assert f"{tmp_path / 'a.yaml'}: the settings file must be YAML" in line
    assert "\n" not in line
    assert len(line) < 600 + len(str(tmp_path))


GOOD_YAML: dict[str, tuple[str, Any]] = {
    "dates are words": (
        "{a: 2024-01-31, b: 2024-13-45, c: 2024-01-01 10:00:00}",
        {"a": "2024-01-31", "b": "2024-13-45", "c": "2024-01-01 10:00:00"},
    ),
    "keys are words": (
        "{10: a, 1.5: b, yes: c, x: d, on: e}",
        {"10": "a", "1.5": "b", "yes": "c", "x": "d", "on": "e"},
    ),
    "an equals sign": ("[=, x]", ["=", "x"]),
    "aliases": ("a: &a {x: 1}\nb: *a\nc: {<<: *a, x: 2, y: 3}", None),
    "numbers": ("[1, -2, 0x10, 1.5, 1e-3, 1.0e+3, .inf, true, null]", None),
    "the largest number": (f"[{2**63 - 1}, -{2**63 - 1}]", [2**63 - 1, -(2**63) + 1]),
    "as deep as may be": ("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1), None),
    "nothing": ("", None),
    "a block": ("a:\n  - b: 1\n    c: [x, y]\n  - text: |\n      two\n      lines\n", None),
}


@pytest.mark.parametrize("name", GOOD_YAML)
def test_plain_yaml_is_what_pyyaml_reads(name: str) -> None:
    """The reference is PyYAML itself, but for dates and keys that are no words."""
    text, expected = GOOD_YAML[name]
    assert yaml_of(text) == (yaml.safe_load(text) if expected is None else expected)


BAD_JSON = {
    "deep lists": (b"[" * 100_000, "levels"),
    "deep but closed": (b"[" * 500 + b"]" * 500, "levels"),
    "deep mappings": (b'{"a":' * 200 + b"1" + b"}" * 200, "levels"),
    "too many digits": (b"9" * 5000, "digits"),
    "too many bits": (b'{"a": 99999999999999999999999}', "64 are the most"),
    "half of a pair": (b'{"a": "\\ud800"}', "half of a pair"),
    "not UTF-8": (b'{"a": "\xff"}', "utf-8"),
    "a mark of order": (b"\xef\xbb\xbf{}", "BOM"),
    "half": (b'{"a": ', "Expecting value"),
    "nothing": (b"", "Expecting value"),
    "zeros": (b"\0" * 64, "Expecting value"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_beyond_the_limits_is_one_line(tmp_path: Path, name: str) -> None:
    content, words = BAD_JSON[name]
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_json(tmp_path / "a.json")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"{tmp_path / 'a.json'}: the file must be JSON" in str(caught.value)


@pytest.mark.parametrize("value", [[], "x", 1, None, True])
def test_a_file_of_ours_holds_keys_and_values(tmp_path: Path, value: object) -> None:
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match="must hold keys and values"):
        read_object(tmp_path / "a.json")
    (tmp_path / "b.json").mkdir()
    with pytest.raises(UserError, match="must be readable"):
        read_object(tmp_path / "b.json")


def test_rows_end_where_a_killed_runner_stopped_and_damage_has_its_line(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n\n{"step": 2, "x": NaN}\n{"step": 3, "x"')
    assert [row["step"] for row in read_rows(file)] == [1, 2]
    assert [row["step"] for row in read_rows(file, lambda line: "x" in line)] == [2]
    for line, words in (('{"step"', "delimiter"), ("[1]", "a list instead"), ("3", "a number")):
        file.write_text(f'{{"step": 1}}\n{line}\n{{"step": 2}}\n')
        with pytest.raises(UserError, match=f"JSON in each line, found line 2: .*{words}"):
            list(read_rows(file))


class _About(TypedDict):
    name: str
    sides: list[int]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"name": "a"}, "sides: field required"),
        ({"name": 1, "sides": []}, "name: input should be a valid string, not '1'"),
        ({"name": "a", "sides": [1, "2"]}, "sides.1: input should be a valid integer, not '2'"),
        ([], "input should be a valid dictionary"),
    ],
)
def test_a_field_of_another_type_is_named(value: object, words: str) -> None:
    with pytest.raises(UserError) as caught:
        check_shape(value, _About, file="x.json", what="a thing", remedy="make it again")
    assert (
        str(caught.value)
        == f"x.json: the file must be that of a thing, found {words}"
        + (", not '[]'" if value == [] else "")
        + "; make it again"
    )
    check_shape({"name": "a", "sides": [1]}, _About, file="x.json", what="a thing")


class _Any(Settings):
    name: str = ""
    values: dict[str, Any] = Field(default_factory=dict)
    count: int = 0


def _swap(text: str, draw: random.Random) -> str:
    place = draw.randrange(len(text) + 1)
    return text[:place] + draw.choice("[]{}:,-?!&*|>'\"%@`#~ \n\t0129e.xé\x00") + text[place:]


def _cut(text: str, draw: random.Random) -> str:
    start, stop = sorted(draw.randrange(len(text) + 1) for _ in range(2))
    return text[:start] + text[stop:]


def _again(text: str, draw: random.Random) -> str:
    lines = text.split("\n")
    return "\n".join([*lines, draw.choice(lines), draw.choice(lines)])


def _word(text: str, draw: random.Random) -> str:
    words = ("!!set", "2024-99-99", "1:61:99", "0b2", "0o9", "1e999", "&a *a", "<<: 1", "? [a]")
    return text.replace(draw.choice(string.ascii_lowercase), draw.choice(words), 1)


MUTATORS: tuple[Callable[[str, random.Random], str], ...] = (_swap, _cut, _again, _word)
SEED = "name: x\nvalues: {a: [1, 2.5, {b: no}], c: &c {d: 1}, e: *c}\ncount: 3\n"


@pytest.mark.parametrize("seed", range(4))
def test_mutated_settings_are_read_or_are_one_error(tmp_path: Path, seed: int) -> None:
    """250 texts a seed; each is settings, or a `SettingsError`: nothing else leaves."""
    draw, refused = random.Random(seed), 0
    file = tmp_path / "a.yaml"
    for _ in range(250):
        text = SEED
        for _ in range(draw.randint(1, 4)):
            text = draw.choice(MUTATORS)(text, draw)
        file.write_text(text, encoding="utf-8")
        try:
            settings = load(_Any, [file])
        except SettingsError:
            refused += 1
        else:
            json.dumps(settings.model_dump(mode="json"))
    assert 25 < refused < 250


@pytest.mark.parametrize("seed", range(4))
def test_mutated_json_is_read_or_is_one_error(seed: int) -> None:
    draw, refused = random.Random(seed), 0
    sound = json.dumps({"a": [1, 2.5, None, {"b": "é"}], "c": {"d": True}}, ensure_ascii=True)
    for _ in range(250):
        content = bytearray(sound.encode())
        for _ in range(draw.randint(1, 3)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        try:
            json_of(bytes(content))
        except PlainError:
            refused += 1
    assert 25 < refused < 250


def test_the_limits_are_wide_enough_for_a_large_study() -> None:
    text = yaml.safe_dump({"factors": {"seed": list(range(MOST // 2))}})
    assert len(yaml_of(text)["factors"]["seed"]) == MOST // 2
