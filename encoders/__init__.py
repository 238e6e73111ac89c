"""From an image to a pyramid of features, and from a pyramid back to an image."""

from .base import Encoder
from .resenc import ResencEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "resenc": ResencEncoder,
}
