"""Draw every fusion strategy: its encoders, where features or predictions meet, its decoders.

`python docs/site/strategies.py` builds a small network of each strategy for CT and PET, counts what
it is made of, and writes docs/pictures/fusion_strategies.svg.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

PICTURE = Path(__file__).parents[1] / "pictures" / "fusion_strategies.svg"
MODALITIES = ("ct", "pet")
COLUMNS, WIDE, HIGH = 3, 330, 112
PLACES = {
    "input": "one network",
    "levels": "features of each level",
    "prediction": "predictions of two networks",
}
FILL = {"image": "#e8eef4", "encoder": "#bcd8d2", "fusion": "#f4d9a8", "decoder": "#c9c6e3"}
HEAD = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" font-family="sans-serif" '
    'font-size="11">\n<title>Encoders, fusion and decoders of every strategy</title>\n'
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
    'orient="auto"><path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>\n'
    '<rect width="100%" height="100%" fill="#fff"/>\n'
)


@dataclass(frozen=True)
class Anatomy:
    """What a strategy is made of, for CT and PET.

    Attributes:
        name: Of the strategy.
        seen: Modalities that reach the prediction.
        encoders: Modalities of the input channels, per encoder; several modalities that one
            encoder takes in turn are all named.
        decoders: Number of decoders.
    """

    name: str
    seen: tuple[str, ...]
    encoders: tuple[tuple[str, ...], ...]
    decoders: int

    @property
    def place(self) -> str:
        """Return where the modalities meet: a key of `PLACES`."""
        if self.decoders > 1:
            return "prediction"
        return "levels" if len(self.encoders) > 1 else "input"


def anatomies() -> list[Anatomy]:
    """Build a small network of each strategy and look at it."""
    from hilum.contracts.fusion import make
    from hilum.encoders.decoders.pyramid import PyramidDecoder
    from hilum.fusion import STRATEGIES

    found = []
    for name, cls in STRATEGIES.items():
        network = make(name, MODALITIES)
        seen = cls.sees(MODALITIES, **cls.small)
        inputs = cls.inputs(MODALITIES, **cls.small)
        encoders = tuple(inputs[key] for key in network.encoders)
        if len(encoders) == 1:
            encoders = (seen,)
        decoders = sum(isinstance(part, PyramidDecoder) for part in network.modules())
        found.append(Anatomy(name, seen, encoders, decoders))
    return found


def draw(found: list[Anatomy]) -> str:
    """Return the picture as SVG."""
    rows = -(-len(found) // COLUMNS)
    parts = [HEAD.format(w=COLUMNS * WIDE, h=rows * HIGH)]
    for number, anatomy in enumerate(found):
        row, column = divmod(number, COLUMNS)
        parts.append(f'<g transform="translate({column * WIDE} {row * HIGH})">')
        parts += [*_panel(anatomy), "</g>"]
    return "\n".join([*parts, "</svg>\n"])


def _panel(a: Anatomy) -> list[str]:
    text = f'<text x="10" y="16" font-weight="bold">{escape(a.name)}</text>'
    parts = [text, f'<text x="120" y="16" fill="#567">{PLACES[a.place]}</text>']
    images = dict(zip(a.seen, _heights(len(a.seen)), strict=True))
    encoders, decoders = _heights(len(a.encoders)), _heights(a.decoders)
    for name, y in images.items():
        parts.append(_box(10, y, 42, name.upper(), "image"))
        for own, at in zip(a.encoders, encoders, strict=True):
            parts += [_arrow(52, y, 72, at)] if name in own else []
    parts += [_box(72, y, 66, "encoder", "encoder") for y in encoders]
    if a.place == "levels":
        parts += [_arrow(138, y, 158, 61) for y in encoders]
        parts += [_box(158, 61, 60, "fusion", "fusion"), _arrow(218, 61, 238, 61)]
        return [*parts, _box(238, 61, 66, "decoder", "decoder"), _arrow(304, 61, 324, 61)]
    parts += [_arrow(138, y, 158, y) for y in decoders]
    parts += [_box(158, y, 66, "decoder", "decoder") for y in decoders]
    if a.place == "input":
        return [*parts, _arrow(224, 61, 324, 61)]
    parts += [_arrow(224, y, 244, 61) for y in decoders]
    return [*parts, _box(244, 61, 60, "fusion", "fusion"), _arrow(304, 61, 324, 61)]


def _heights(count: int) -> tuple[int, ...]:
    return (61,) if count == 1 else (43, 79)


def _box(x: int, y: int, wide: int, text: str, kind: str) -> str:
    box = f'<rect x="{x}" y="{y - 12}" width="{wide}" height="24" rx="4" fill="{FILL[kind]}"/>'
    middle = x + wide / 2
    return f'{box}<text x="{middle:g}" y="{y + 4}" text-anchor="middle">{text}</text>'


def _arrow(x: int, y: int, to_x: int, to_y: int) -> str:
    return f'<path d="M{x} {y} {to_x} {to_y}" stroke="#456" marker-end="url(#tip)"/>'


if __name__ == "__main__":
    PICTURE.write_text(draw(anatomies()), encoding="utf-8")
