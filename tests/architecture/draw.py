"""Draw the import graph: rooms by layer, folders inside them, arrows one way.

`python tests/architecture/draw.py` writes docs/pictures/import_graph.svg; with `--check` it only
says whether that picture is still true.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import imports as graph

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "pictures" / "import_graph.svg"

WIDE, HIGH = 96, 22
"""Sides of the box of a folder."""
GAP, APART = 12, 70
"""Between boxes, and between layers."""
PAD, TITLE = 12, 26

Pairs = set[tuple[str, str]]

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:g} {h:g}"
font-family="sans-serif">
<title>Import graph of hilum</title>
<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
orient="auto"><path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{x:g}" y="22" font-size="13" fill="#345">An arrow is an import; those that follow from
others are left out. Written by tests/architecture/draw.py.</text>
"""


@dataclass
class Room:
    """A room with its folders.

    Attributes:
        name: Of the room.
        levels: Names of folders, those that import others of the room first.
        inside: Arrows between them.
        x: Left edge.
        y: Upper edge.
    """

    name: str
    levels: list[list[str]]
    inside: Pairs
    x: float = 0
    y: float = 0

    @property
    def width(self) -> float:
        """Of the box."""
        most = max((len(level) for level in self.levels), default=1)
        return max(most * (WIDE + GAP) - GAP, WIDE) + 2 * PAD

    @property
    def height(self) -> float:
        """Of the box."""
        return TITLE + PAD + max(len(self.levels) * (HIGH + 2 * GAP) - 2 * GAP, 0)

    def places(self) -> dict[str, tuple[float, float]]:
        """Return the upper left corner of each folder."""
        found = {}
        for row, level in enumerate(self.levels):
            left = self.x + (self.width - len(level) * (WIDE + GAP) + GAP) / 2
            for column, name in enumerate(level):
                y = self.y + TITLE + row * (HIGH + 2 * GAP)
                found[name] = (left + column * (WIDE + GAP), y)
        return found


def reduced(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """Return the arrows that no path of others replaces."""
    pairs = set(pairs)
    below: dict[str, set[str]] = {}
    for source, target in pairs:
        below.setdefault(source, set()).add(target)

    def reach(name: str) -> set[str]:
        return set().union(below.get(name, set()), *(reach(other) for other in below.get(name, ())))

    return {
        (source, target)
        for source, target in pairs
        if not any(target in reach(other) for other in below[source] - {target})
    }


def rooms_of(package: Path) -> tuple[list[list[Room]], Pairs]:
    """Return the rooms of each layer, the highest layer first, and the arrows between rooms."""
    modules = graph.modules_of(package)
    arrows = [arrow for arrow in graph.arrows_of(modules) if arrow.depth != "typing"]
    between = {(graph.room_of(a.source), graph.room_of(a.target)) for a in arrows}
    between = {(a, b) for a, b in between if a and b and a != b}
    there = {graph.room_of(name) for name in modules}
    layers = [sorted(layer & there) for layer in reversed(graph.ORDER)]
    return [[_room(package, name, arrows) for name in layer] for layer in layers], reduced(between)


def _room(package: Path, name: str, arrows: list[graph.Arrow]) -> Room:
    folders = sorted(path.parent.name for path in (package / name).glob("*/__init__.py"))

    def folder(module: str) -> str:
        parts = module.split(".")
        inside = len(parts) > 2 and parts[1] == name and parts[2] in folders
        return parts[2] if inside else ""

    pairs = {(folder(a.source), folder(a.target)) for a in arrows}
    inside = reduced((a, b) for a, b in pairs if a and b and a != b)
    levels: list[list[str]] = []
    left = set(folders)
    while left:
        free = {one for one in left if not any(b == one and a in left for a, b in inside)}
        if not free:
            raise ValueError(f"the folders {sorted(left)} of {name} import each other in a circle")
        levels.append(sorted(free))
        left -= free
    return Room(name, levels, inside)


def draw(package: Path) -> str:
    """Return the picture."""
    layers, between = rooms_of(package)
    width = max(sum(r.width + 2 * GAP for r in layer) for layer in layers) + 2 * GAP
    y = 40.0
    for layer in layers:
        x = (width - sum(r.width + 2 * GAP for r in layer)) / 2 + GAP
        for room in layer:
            room.x, room.y = x, y
            x += room.width + 2 * GAP
        y += max((r.height for r in layer), default=0) + APART
    rooms = {room.name: room for layer in layers for room in layer}
    parts = [HEAD.format(w=width, h=y - APART + 20, x=GAP)]
    for room in rooms.values():
        parts += _box(room)
    for source, target in sorted(between):
        parts.append(_between(rooms[source], rooms[target]))
    return "\n".join(parts) + "\n</svg>\n"


def _box(room: Room) -> list[str]:
    parts = [
        f'<rect x="{room.x:g}" y="{room.y:g}" width="{room.width:g}" height="{room.height:g}" '
        'rx="6" fill="#eef3f8" stroke="#456"/>',
        f'<text x="{room.x + room.width / 2:g}" y="{room.y + 17:g}" text-anchor="middle" '
        f'font-size="13" font-weight="bold">{room.name}</text>',
    ]
    places = room.places()
    for name, (x, y) in places.items():
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{WIDE}" height="{HIGH}" rx="3" fill="#fff" '
            f'stroke="#9ab"/><text x="{x + WIDE / 2:g}" y="{y + 15:g}" text-anchor="middle" '
            f'font-size="11">{name}</text>'
        )
    for source, target in sorted(room.inside):
        (a, b), (c, d) = places[source], places[target]
        parts.append(_line(a + WIDE / 2, b + HIGH, c + WIDE / 2, d))
    return parts


def _between(source: Room, target: Room) -> str:
    """Return an arrow from the foot of one room to the head of another, spread along both."""

    def at(room: Room, other: Room) -> float:
        wish = other.x + other.width / 2
        return min(max(wish, room.x + room.width * 0.2), room.x + room.width * 0.8)

    return _line(at(source, target), source.y + source.height, at(target, source), target.y)


def _line(x: float, y: float, to_x: float, to_y: float) -> str:
    bend = (to_y - y) / 2
    return (
        f'<path d="M{x:g} {y:g}C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}" '
        'fill="none" stroke="#456" marker-end="url(#tip)"/>'
    )


def main(words: list[str]) -> int:
    """Write the picture, or check it."""
    drawn = draw(ROOT / "hilum")
    if words == ["--check"]:
        if PICTURE.is_file() and PICTURE.read_text(encoding="utf-8") == drawn:
            return 0
        print(f"{PICTURE.relative_to(ROOT)} is not of these imports: run `make graph`")
        return 1
    PICTURE.write_text(drawn, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
