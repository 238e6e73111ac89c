"""Several segmenters as one: the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hilum.core.errors import CheckpointError, SettingsError
from hilum.core.types import Available, Volume
from hilum.encoders.networks import is_network

from .config import SegmenterConfig
from .operating.point import middle
from .operating.probability import probability_of
from .prediction.on_call import ScanPredictor
from .predictor import Predictor
from .proposals import segmenter_of_network
from .segmenter import Segmenter

MUST_AGREE: dict[str, Callable[[SegmenterConfig], object]] = {
    "modalities": lambda config: config.modalities,
    "classes": lambda config: config.classes,
    "regions": lambda config: config.overlapping,
    "spacing": lambda config: config.spacing,
    "orientation": lambda config: config.orientation,
    "the modalities that are z-scored": lambda config: sorted(config.zscored),
    "window": lambda config: config.inference.window or config.patch,
    "preparation": lambda config: config.preparation.model_dump(mode="json"),
}
"""What segmenters must share to see the same voxels; encoder, fusion and decoder may differ."""


class Ensemble(ScanPredictor):
    """The mean of the probabilities of segmenters, such as those of the folds. Final.

    Predicts wherever a segmenter does.

    Args:
        members: Segmenters that agree on all of `MUST_AGREE`.
        names: What to call them in errors; by default their numbers.

    Attributes:
        members: The segmenters.
        config: That of the first; what counts for prediction is the same for all, but for the
            operating point, which is the middle of theirs.

    Raises:
        SettingsError: If there is none, or if two do not agree.
    """

    def __init__(self, members: Sequence[Segmenter], names: Sequence[str] = ()) -> None:
        super().__init__()
        if not members:
            raise SettingsError("an ensemble needs a segmenter or more", remedy="name the folders")
        self.members = nn.ModuleList(members)
        points = [member.config.operating_point for member in members]
        self.config = members[0].config.model_copy(update={"operating_point": middle(points)})
        self.modalities, self.classes = self.config.modalities, self.config.classes
        names = names or [f"segmenter {number}" for number in range(1, len(members) + 1)]
        for member, name in zip(members[1:], names[1:], strict=True):
            for what, value in MUST_AGREE.items():
                if value(member.config) != value(self.config):
                    one, other = value(self.config), value(member.config)
                    raise SettingsError(
                        f"the segmenters of an ensemble must agree on {what}",
                        found=f"{one} in {names[0]}, {other} in {name}",
                        remedy=f"leave {name} out, or predict with each alone",
                    )

    @property
    def networks(self) -> list[nn.Module]:
        """The members."""
        return list(self.members)

    def forward(self, image: Volume, available: Available) -> list[Tensor]:
        """Return logits of the mean probability at full resolution: its log, or its log odds."""
        overlapping = bool(self.config.regions)
        logits = [member(image, available)[0].float() for member in self.members]
        mean = torch.stack([probability_of(one, overlapping) for one in logits]).mean(0)
        if not overlapping:
            return [mean.clamp_min(1e-30).log()]
        each = mean[:, 1:].clamp(1e-7, 1 - 1e-7).logit()
        return [torch.cat([torch.zeros_like(each[:, :1]), each], 1)]

    @classmethod
    def from_pretrained(cls, *folders: str | Path) -> Ensemble:
        """Read segmenter folders, run folders, or folders of them (such as the folds)."""
        found = [folder for given in folders for folder in segmenter_folders(given)]
        members = [_read(folder) for folder in found]
        return cls(members, [str(folder) for folder in found]).eval()


def load_predictor(*folders: str | Path) -> Predictor:
    """Read what folders hold: one segmenter as it is, several as an ensemble."""
    found = [folder for given in folders for folder in segmenter_folders(given)]
    return _read(found[0]) if len(found) == 1 else Ensemble.from_pretrained(*found)


def _read(folder: Path) -> Segmenter:
    """Read a segmenter, or a network that segments without having seen a label."""
    if is_network(folder):
        return segmenter_of_network(folder)
    return Segmenter.from_pretrained(folder)


def segmenter_folders(folder: str | Path) -> list[Path]:
    """Return the segmenter folders that are meant by a folder.

    It is one itself, a run folder (`RUN/segmenter`, or the `RUN/network` of a pretraining), or
    holds some of these.

    Raises:
        CheckpointError: If it holds none.
    """
    folder = Path(folder)
    for place in (folder, folder / "segmenter", folder / "network"):
        if (place / "config.json").is_file():
            return [place]
    inside = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    found = [
        place
        for path in inside
        for place in (path, path / "segmenter", path / "network")
        if (place / "config.json").is_file() and (place / "model.safetensors").is_file()
    ]
    if not found:
        raise CheckpointError(
            "a segmenter folder must hold config.json and model.safetensors",
            file=folder,
            remedy="give the folder that `hilum finetune` named at its end, or a folder of such",
        )
    return found
