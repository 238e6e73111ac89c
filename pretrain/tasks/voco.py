"""VoCo: say where a crop comes from by how much it overlaps with each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hilum.core.errors import SettingsError
from hilum.core.geometry import IntTriple
from hilum.encoders.base import Encoder

from ..base import PretextBatch, PretextTask
from ..parts.contrast import Projection
from ..parts.teacher import Teacher, momentum_at


class Voco(PretextTask):
    r"""Volume contrast: predict the overlap of a random crop with the crops of a fixed grid.

    With unit features $q_i$ of the grid's $n$ crops and $k$ of the random one, and the share $y_i$
    of the random crop that lies in crop $i$,

    $$L = -\frac1n \sum_i \log(1 - |y_i - \max(q_i \cdot k, 0)|)
      + \frac{2}{n(n - 1)} \sum_{i < j} \max(q_i \cdot q_j, 0).$$

    The second term pushes the crops of the grid apart. The first takes their features from the
    teacher, the running average of the student.

    Source:
        Wu et al., "VoCo", CVPR 2024, arXiv:2402.17300, equations 1 to 5; a momentum teacher as in
        "Large-Scale 3D Medical Image Pre-training", TPAMI 2025, arXiv:2410.09890. Ours: the grid is
        cut from a training patch, so crops are smaller than the source's 64 voxels, and lies in all
        three axes where `grid` says so.

    Args:
        encoder: Encoder with one input channel per modality.
        modalities: Name of each channel.
        grid: Crops along depth, height and width; each axis of a patch must divide by its number
            into sides that the encoder takes.
        randoms: Random crops per patch.
        width: Channels of the projection.
        momentum: Of the teacher at the start.
    """

    citation = (
        "Wu, L. and Zhuang, J. and Chen, H.",
        "VoCo: A Simple-yet-Effective Volume Contrastive Learning Framework for 3D Medical "
        "Image Analysis",
        "CVPR",
        2024,
        "arXiv:2402.17300",
    )
    small: ClassVar = {"grid": (1, 2, 2), "width": 16}

    def __init__(
        self,
        *,
        encoder: Encoder,
        modalities: Sequence[str],
        grid: Sequence[int] = (1, 2, 2),
        randoms: int = 2,
        width: int = 256,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if len(tuple(grid)) != 3 or min(grid) < 1 or max(grid) < 2:
            raise SettingsError("grid needs three numbers of 1 or more, not all 1", found=grid)
        if randoms < 1 or not 0 <= momentum < 1:
            raise SettingsError(
                "randoms must be at least 1, momentum within 0 and 1",
                found=f"{randoms}, {momentum}",
            )
        self.modalities = tuple(modalities)
        self.grid: IntTriple = (grid[0], grid[1], grid[2])
        self.randoms, self.momentum = randoms, momentum
        self.encoder = encoder
        self.projection = Projection(encoder.channels[-1], width)
        self.teacher = Teacher(nn.ModuleDict({"encoder": encoder, "projection": self.projection}))

    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, its two terms, and the mean error of the predicted overlap."""
        image = batch.image
        sides, corners = self.base(image.shape[2:])
        base = [_cut(image, [corner] * len(image), sides) for corner in corners]
        ours = torch.stack([self._keys(crop) for crop in base], 1)
        own = self.teacher.network
        with torch.no_grad():
            theirs = torch.stack(
                [
                    own.get_submodule("projection")(_pooled(own.get_submodule("encoder"), crop))
                    for crop in base
                ],
                1,
            )
        losses, errors = [], []
        for _ in range(self.randoms):
            places = self.draw(batch, sides)
            share = torch.stack([overlaps(p, sides, corners) for p in places])
            share = share.to(image.device, non_blocking=True)
            key = self._keys(_cut(image, places, sides))
            likeness = F.relu((theirs * key[:, None]).sum(2))
            distance = (share - likeness).abs()
            losses.append(-(1 - distance).clamp(min=1e-6).log().mean())
            errors.append(distance.detach().mean())
        predicted = torch.stack(losses).mean()
        apart = self._apart(ours)
        named = {"overlap": predicted.detach(), "apart": apart.detach()}
        return predicted + apart, named | {"overlap_error": torch.stack(errors).mean()}

    def after_step(self, step: int, steps: int) -> None:
        """Let the teacher follow."""
        student = nn.ModuleDict({"encoder": self.encoder, "projection": self.projection})
        self.teacher.follow(student, momentum_at(step, steps, self.momentum))

    def networks(self) -> dict[str, nn.Module]:
        """Return the teacher's encoder."""
        return {"teacher": self.teacher.network.get_submodule("encoder")}

    def base(self, sides: Sequence[int]) -> tuple[IntTriple, list[IntTriple]]:
        """Return the sides of a crop, and the first voxel of each crop of the grid."""
        d, h, w = (n // g for n, g in zip(sides, self.grid, strict=True))
        steps = [[i * s for i in range(g)] for g, s in zip(self.grid, (d, h, w), strict=True)]
        return (d, h, w), [(a, b, c) for a, b, c in product(*steps)]

    def draw(self, batch: PretextBatch, sides: IntTriple) -> list[IntTriple]:
        """Draw the first voxel of a random crop for each sample."""
        free = [n - s + 1 for n, s in zip(batch.image.shape[2:], sides, strict=True)]
        drawn = batch.shapes.random((len(batch.image), 3)).tolist()
        return [(int(a * free[0]), int(b * free[1]), int(c * free[2])) for a, b, c in drawn]

    def check_patch(self, patch: IntTriple) -> None:
        """Refuse patches that the grid does not divide into sides that the encoder takes."""
        if any(n % g for n, g in zip(patch, self.grid, strict=True)):
            raise SettingsError(
                "the grid must divide the patch",
                found=f"{self.grid} in {patch}",
                remedy="choose sides that the grid divides",
            )
        self.encoder.check_sides(self.base(patch)[0])  # pyright: ignore[reportCallIssue]

    def _keys(self, crop: Tensor) -> Tensor:
        return self.projection(_pooled(self.encoder, crop))

    @staticmethod
    def _apart(keys: Tensor) -> Tensor:
        likeness = F.relu(keys @ keys.transpose(1, 2))
        count = keys.shape[1]
        return likeness.triu(1).sum() / (len(keys) * (count * (count - 1) / 2))


def overlaps(place: IntTriple, sides: IntTriple, corners: Sequence[IntTriple]) -> Tensor:
    """Return the fraction of a crop at `place` that lies in each crop of the grid.

    Examples:
        >>> overlaps((0, 1, 0), (4, 4, 4), [(0, 0, 0), (0, 4, 0)]).tolist()
        [0.75, 0.25]
    """
    found = []
    for corner in corners:
        share = 1.0
        for a, b, side in zip(place, corner, sides, strict=True):
            share *= max(side - abs(a - b), 0) / side
        found.append(share)
    return torch.tensor(found)


def _cut(image: Tensor, places: Sequence[IntTriple], sides: IntTriple) -> Tensor:
    p, q, r = sides
    return torch.stack(
        [x[:, d : d + p, h : h + q, w : w + r] for x, (d, h, w) in zip(image, places, strict=True)]
    )


def _pooled(encoder: nn.Module, image: Tensor) -> Tensor:
    return encoder(image)[-1].float().mean((2, 3, 4))
