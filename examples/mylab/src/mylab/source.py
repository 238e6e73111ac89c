"""Weights of our own zoo."""

from __future__ import annotations

from pathlib import Path

import torch

from hilum.exchange.weights_in.reading import ForeignFile
from hilum.exchange.weights_in.source import Recipe, Request, WeightSource, renamed

from .encoder import StridedEncoder

PREFIX = "mylab_net."


class ZooSource(WeightSource):
    """A state dict of the network that `encoder` describes, below `mylab_net.`."""

    title = "networks of mylab"
    home = "our shared disk"
    licence = "none"
    obtain = "ask us"

    def recognise(self, foreign: ForeignFile) -> str:
        """Know the prefix of the names."""
        ours = bool(foreign.tensors) and all(name.startswith(PREFIX) for name in foreign.tensors)
        return f"every name begins with {PREFIX}" if ours else ""

    def recipe(self, foreign: ForeignFile, request: Request) -> Recipe:
        """Read the channels of each level from the shapes."""
        weights, unused = renamed(foreign.tensors, [(r"mylab_net\.(levels\..*)", r"\1")])
        features = [len(weights[f"levels.{n}.0.weight"]) for n in range(len(weights) // 3)]
        return Recipe({"name": "strided", "features": features}, weights, unused)

    def example(self, folder: Path) -> Path:
        """Write a network of two levels as our zoo has it."""
        made = StridedEncoder(in_channels=1, features=[4, 8])
        torch.save({PREFIX + k: v for k, v in made.state_dict().items()}, folder / "net.pt")
        return folder / "net.pt"
