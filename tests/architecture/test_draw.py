"""The picture of the import graph holds every room and only arrows that point down."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import draw


def test_arrows_that_follow_from_others_are_left_out() -> None:
    assert draw.reduced({("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")}) == {
        ("a", "b"),
        ("b", "c"),
        ("a", "d"),
    }


def test_every_room_is_drawn_and_every_arrow_points_down() -> None:
    text = draw.draw(draw.ROOT / "hilum")
    for room in (draw.ROOT / "hilum").glob("*/__init__.py"):
        assert f">{room.parent.name}</text>" in text
    ends = re.findall(r'd="M\S+ ([\d.]+)C\S+ \S+ \S+ \S+ \S+ ([\d.]+)"', text)
    assert len(ends) > 20
    assert all(float(start) < float(end) for start, end in ends)


def test_a_new_import_changes_the_picture(tmp_path: Path) -> None:
    package = tmp_path / "hilum"
    for name in ("core/__init__.py", "core/a.py", "losses/__init__.py", "losses/b.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("")
    before = draw.draw(package)
    (package / "losses" / "b.py").write_text("from hilum.core import a\n")
    assert draw.draw(package).count('<path d="M') == before.count('<path d="M') + 1


def test_folders_in_a_circle_cannot_be_drawn(tmp_path: Path) -> None:
    package = tmp_path / "hilum"
    for one, other in (("grid", "run"), ("run", "grid")):
        (package / "study" / one).mkdir(parents=True)
        (package / "study" / one / "__init__.py").write_text("")
        (package / "study" / one / "a.py").write_text(f"from ..{other} import a\n")
    (package / "study" / "__init__.py").write_text("")
    with pytest.raises(ValueError, match="circle"):
        draw.draw(package)
