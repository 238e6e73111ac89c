"""The contract of a pretext task: a loss that needs no labels, around an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from hilum.core.geometry import IntTriple
from hilum.core.types import Available, Volume
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import Output


class PretextBatch(NamedTuple):
    """What a pretext task sees of a batch, after augmentation and on the network's scale.

    Attributes:
        image: `[B, M, D, H, W]`, one channel per modality; zeros where a modality is absent.
        available: Which modalities each case has.
        body: `[B, 1, D, H, W]` booleans: inside the patient.
        generator: Source of every random draw of this step, on the device of the image.
        field_of_view: `[B, M, D, H, W]` booleans: inside what each modality's scan covers; all of
            it if not given.
        shift: `[B, M, 3]`, by how many mm augmentation moved each modality against the patient.
        others: Further random views of the same places, for tasks with `views` above 1.
        cases: Name of the case of each sample.
        host: Source of the draws that decide shapes and places, on the host; use `shapes`.
        there: What `available` holds, on the host; use `have`.
    """

    image: Volume
    available: Available
    body: Tensor
    generator: torch.Generator
    field_of_view: Tensor | None = None
    shift: Tensor | None = None
    others: tuple[PretextBatch, ...] = ()
    cases: tuple[str, ...] = ()
    host: np.random.Generator | None = None
    there: Sequence[Sequence[bool]] | None = None

    @property
    def have(self) -> Sequence[Sequence[bool]]:
        """Return which modalities each case has; without `there` the GPU is waited for."""
        return self.available.tolist() if self.there is None else self.there

    @property
    def shapes(self) -> np.random.Generator:
        """Return what draws numbers that Python needs: to read them waits for no GPU.

        Without `host` it is seeded from `generator`, whose device must then be waited for.
        """
        if self.host is not None:
            return self.host
        device = self.generator.device
        seed = torch.randint(2**62, (), generator=self.generator, device=device)
        return np.random.default_rng(int(seed))


class PretextTask(nn.Module, ABC):
    """Has an `encoder`, gives a loss. Subclasses are final.

    Everything that the loss needs beyond the batch is a parameter or a buffer, so that a resumed
    run goes on exactly: a teacher's weights, a queue, a centre.

    Attributes:
        encoder: What is learned; the run saves it as an encoder folder.
        views: Random views of each patch that the task wants; `PretextBatch.others` has the rest.
        least_batch: Smallest batch that the task can learn from.
        citation: Authors, title, venue, year, and `arXiv:...` or `doi:...`, as in `core.citation`;
            a literal, so that a listing need not import the class.
        small: Parameters of a small one, which the contract tests build.
        small_encoder: Name and parameters of the encoder that they give it; empty: a small resenc.
    """

    encoder: nn.Module
    views: int = 1
    least_batch: int = 1
    citation: ClassVar[tuple[str, str, str, int, str] | None] = None
    small: ClassVar[Mapping[str, Any]] = {}
    small_encoder: ClassVar[Mapping[str, Any]] = {}

    @abstractmethod
    def loss(self, batch: PretextBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the scalar to minimise and its named terms, detached, for the log."""

    def pictures(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return named volumes like `batch.image` to look at, such as input, masked, reconstructed.

        NaN marks what was hidden from the network. By default, the views that the network gets.
        """
        views = (batch, *batch.others)
        return {f"view {number}": view.image for number, view in enumerate(views, 1)}

    def after_step(self, step: int, steps: int) -> None:
        """Follow an optimiser step, as a teacher does that is an average of the student.

        Args:
            step: Steps done, at least 1.
            steps: Steps of the whole run.
        """

    def networks(self) -> dict[str, nn.Module]:
        """Return further networks to save next to the encoder.

        One named `teacher` is an encoder like the task's own, and gets an encoder folder. What
        `outputs` describes is in the network folder, and not named here.
        """
        return {}

    def passes(self) -> tuple[nn.Module, ...]:
        """Return the modules whose forward passes take the time of a step: what to compile.

        By default the encoder, the decoder, and the further networks. A task that calls parts of
        them, and not them, must name the parts: a module that is never called is never compiled.
        """
        decoder = getattr(self, "decoder", None)
        own = (self.encoder, decoder) if isinstance(decoder, Decoder) else (self.encoder,)
        return (*own, *self.networks().values())

    def outputs(self) -> tuple[Output, ...]:
        """Return what each output channel of `self.decoder` means; nothing without a decoder.

        A task whose `decoder` is an `encoders.decoders.base.Decoder` gets a network folder.
        """
        return ()

    def check_patch(self, patch: IntTriple) -> None:
        """Raise a `SettingsError` if the task cannot work on patches of these sides."""

    def check_augmentation(self, given: AugmentationSettings) -> None:
        """Raise a `SettingsError` if the task cannot work on patches that are changed so."""

    def check_pool(self, store: CaseStore, cases: Sequence[str]) -> None:
        """Raise a `DataError` if these cases can teach the task nothing; before any step."""

    def pool_notes(self, store: CaseStore, cases: Sequence[str]) -> list[str]:
        """Return what the user should know of these cases as a pool for the task."""
        return []
