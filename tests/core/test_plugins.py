"""Methods of others, by an entry point, a path or `register`; a broken one costs one line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.core import plugins
from hilum.core.errors import SettingsError
from hilum.core.registry import Table, build, find
from hilum.core.sources import facts_of, source_hash
from hilum.losses import LOSSES

LOSS = '''
"""A loss."""
from typing import ClassVar
from hilum.losses.base import Loss
from . import sums

class {name}(Loss):
    """{summary}

    More.
    """

    citation = ("Mine, A.", "A title", "MICCAI", 2026, "arXiv:2601.00001")
    sizes: ClassVar = {{"tiny": (3, (1, 2))}}
    made = dict(a=1)

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__(mine=weight)

    def terms(self, level):
        return {{"mine": level.scores.sum() * 0}}
'''

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return what puts a distribution on the path: its modules, and its entry points."""

    def put(name: str, files: dict[str, str], points: dict[str, dict[str, str]]) -> Path:
        place = tmp_path / name
        info = place / f"{name}-0.3.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
        lines = [
            line
            for group, own in points.items()
            for line in (f"[hilum.{group}]", *(f"{key} = {path}" for key, path in own.items()))
        ]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for file, text in files.items():
            (place / name / file).parent.mkdir(parents=True, exist_ok=True)
            (place / name / file).write_text(text)
        monkeypatch.syspath_prepend(str(place))
        plugins.offered.cache_clear()
        return place

    yield put  # pyright: ignore[reportReturnType]
    plugins.offered.cache_clear()
    facts_of.cache_clear()
    for module in [m for m in sys.modules if m.partition(".")[0].startswith("lab_")]:
        del sys.modules[module]


def lab(install: Install, name: str, points: dict[str, str], **files: str) -> Path:
    own = {"__init__.py": "", "sums.py": "", "loss.py": LOSS.format(name="Mine", summary="Sums.")}
    own |= {f"{key}.py": text for key, text in files.items()}
    return install(name, own, {"losses": points})


def test_an_entry_point_joins_the_table_with_what_its_class_says(install: Install) -> None:
    lab(install, "lab_a", {"mine": "lab_a.loss:Mine"})
    assert "mine" in LOSSES
    assert [*LOSSES][-1] == "mine"
    assert str(LOSSES.origin("mine")) == "lab_a 0.3, lab_a.loss:Mine"
    assert str(LOSSES.origin("blob")) == "built in"
    told = LOSSES.facts("mine")
    assert told.summary == "Sums."
    assert told.values["citation"][4] == "arXiv:2601.00001"
    assert told.values["sizes"] == {"tiny": (3, (1, 2))}
    assert "made" not in told.values
    assert "lab_a.loss" not in sys.modules, "a listing reads it, and does not import it"
    assert build(LOSSES, {"name": "mine", "weight": 2.0}).weights == {"mine": 2.0}


def test_a_path_takes_the_place_of_a_name(install: Install) -> None:
    lab(install, "lab_b", {})
    loss = build(LOSSES, {"name": "lab_b.loss:Mine", "weight": 3.0})
    assert loss.weights == {"mine": 3.0}
    assert str(LOSSES.origin("lab_b.loss:Mine")) == "lab_b.loss:Mine"
    with pytest.raises(SettingsError, match="has no 'wait', did you mean 'weight'"):
        build(LOSSES, {"name": "lab_b.loss:Mine", "wait": 3.0})


BROKEN = {
    "no module": ("lab_c.nothing:Mine", "ModuleNotFoundError: No module named 'lab_c.nothing'"),
    "no class": ("lab_c.loss:Other", "AttributeError: module 'lab_c.loss' has no attribute"),
    "raises": ("lab_c.bad:Mine", "ZeroDivisionError: division by zero"),
    "ends": ("lab_c.leaves:Mine", "SystemExit: 3"),
    "syntax": ("lab_c.wrong:Mine", "SyntaxError"),
    "no loss": ("lab_c.sums:Mine", "'mine' of losses must be a subclass of Loss, found"),
    "abstract": ("lab_c.half:Mine", "must be a subclass of Loss with every method, found no terms"),
    "no path": ("lab_c.loss", "'mine' of losses must import"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_one_is_answered_in_a_line_and_the_rest_works(
    fault: str, install: Install
) -> None:
    path, message = BROKEN[fault]
    lab(
        install,
        "lab_c",
        {"mine": path},
        bad="1 / 0",
        leaves="raise SystemExit(3)",
        wrong="def (",
        half="from hilum.losses.base import Loss\nclass Mine(Loss):\n    pass\n",
        sums="class Mine:\n    pass\n",
    )
    with pytest.raises(SettingsError) as caught:
        build(LOSSES, {"name": "mine"})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    (line,) = LOSSES.faults()
    assert message in line
    assert build(LOSSES, {"name": "blob"}).weights
    assert "blob" in dict(LOSSES.working())
    assert "mine" not in dict(LOSSES.working())


def test_a_name_of_ours_stays_ours(install: Install) -> None:
    lab(install, "lab_d", {"blob": "lab_d.loss:Mine"})
    assert LOSSES["blob"].__module__ == "hilum.losses.blob"
    assert LOSSES.faults() == ["lab_d 0.3: the name 'blob' is taken; use lab_d.loss:Mine"]


def test_a_name_that_two_offer_is_nobodys(install: Install) -> None:
    lab(install, "lab_e", {"mine": "lab_e.loss:Mine"})
    lab(install, "lab_f", {"mine": "lab_f.loss:Mine"})
    with pytest.raises(SettingsError, match=r"found lab_. 0.3 and lab_. 0.3; name it by its path"):
        find(LOSSES, "mine")
    assert len(LOSSES.faults()) == 1
    assert build(LOSSES, {"name": "lab_f.loss:Mine"}).weights


def test_the_hash_of_a_source_follows_what_it_imports_of_its_own_package(install: Install) -> None:
    place = lab(install, "lab_g", {"mine": "lab_g.loss:Mine"}, apart="x = 1")
    first = LOSSES.fingerprint("mine")
    assert LOSSES.fingerprint("blob") == ""
    (place / "lab_g" / "apart.py").write_text("x = 2")
    assert LOSSES.fingerprint("mine") == first, "nothing imports it"
    (place / "lab_g" / "sums.py").write_text("x = 2")
    second = LOSSES.fingerprint("mine")
    (place / "lab_g" / "__init__.py").write_text("# changed")
    assert len({first, second, source_hash("lab_g.loss")}) == 3


def test_what_is_registered_reaches_child_processes(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = lab(install, "lab_h", {})
    monkeypatch.setenv(plugins.REGISTERED, "{}")
    table: Table = Table("losses", LOSSES.ours, base=LOSSES.base, room=LOSSES.room)
    table.register("mine", LOSSES["lab_h.loss:Mine"])
    assert str(table.origin("mine")) == "registered, lab_h.loss:Mine"
    with pytest.raises(SettingsError, match="the name 'blob' of losses must be free"):
        table.register("blob", LOSSES["lab_h.loss:Mine"])
    with pytest.raises(SettingsError, match="the name 'mine' of losses must be free"):
        table.register("mine", LOSSES["lab_h.loss:Mine"])
    with pytest.raises(SettingsError, match="must be a subclass of Loss"):
        table.register("other", str)
    monkeypatch.setenv("PYTHONPATH", str(place))
    code = "from hilum.losses import LOSSES; print(LOSSES['mine'].__module__, *LOSSES)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == "lab_h.loss"
    assert done.stdout.split()[-1] == "mine"


def test_an_unknown_name_is_answered_with_those_of_others_too(install: Install) -> None:
    lab(install, "lab_i", {"myloss": "lab_i.loss:Mine"})
    with pytest.raises(SettingsError, match="unknown name 'mylos', did you mean 'myloss'"):
        build(LOSSES, {"name": "mylos"})


def test_ours_need_no_look_at_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(group: str) -> None:
        raise AssertionError(group)

    monkeypatch.setattr("hilum.core.registry.offered", fail)
    assert "blob" in LOSSES
    assert LOSSES["blob"]
