"""Fill a segmenter's encoders from an encoder folder, and report on every tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hilum.core.checkpoints import (
    EncoderConfig,
    LoadReport,
    load_weights,
    read_config,
    read_weights,
)
from hilum.core.errors import CheckpointError, DataError
from hilum.core.files import read_json
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import scale_of
from hilum.segmenter.segmenter import Segmenter

from ..settings import TransferSettings

DECODER = "decoder.safetensors"
"""Weights of the pretext task's decoder, beside those of the encoder, if the folder has them."""


@dataclass
class TransferReport:
    """What came from where.

    Attributes:
        source: The encoder folder.
        encoders: Report of each encoder.
        decoders: Report of each decoder; empty if none was asked for.
        notes: Differences that do not stop the transfer but may lower its worth.
    """

    source: str
    encoders: dict[str, LoadReport]
    decoders: dict[str, LoadReport] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def covered(self) -> float:
        """Least share of the parameters that any encoder got from the folder."""
        return min(report.covered for report in self.encoders.values())

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        rows = [f"weights from {self.source}"]
        for kind, reports in (("encoder", self.encoders), ("decoder", self.decoders)):
            for name, report in reports.items():
                first, *rest = report.lines()
                rows += [f"{kind} {name}: {first}", *rest]
        return [*rows, *(f"note: {note}" for note in self.notes)]

    def as_json(self) -> dict[str, Any]:
        """Return the whole report."""
        return {
            "source": self.source,
            "covered": self.covered,
            "encoders": {name: report.as_json() for name, report in self.encoders.items()},
            "decoders": {name: report.as_json() for name, report in self.decoders.items()},
            "notes": self.notes,
        }


def transfer(
    segmenter: Segmenter, folder: str | Path, settings: TransferSettings
) -> TransferReport:
    """Load an encoder folder into every encoder of a segmenter.

    An encoder that sees fewer modalities than the pretrained one gets the slices of its stem that
    belong to them: it then computes exactly what the pretrained network does with zeros (on the
    network's scale, as for an absent modality) in the other channels.

    With `encoder+decoder` every decoder also gets the folder's decoder weights as far as names and
    shapes fit; heads stay new.

    Raises:
        CheckpointError: If the folder is no encoder folder, or covers too little of an encoder;
            names what differs. The segmenter may then be partly filled: discard it.
    """
    folder = Path(folder)
    source, weights = read_config(folder), read_weights(folder)
    report = TransferReport(str(folder), {}, notes=_notes(segmenter, source))
    for name, encoder in segmenter.encoders.items():
        try:
            report.encoders[name] = load_weights(
                encoder,
                weights,
                source=source.modalities,
                target=segmenter.inputs[name],
                stem=encoder.stem,
                threshold=settings.threshold,
            )
        except CheckpointError as error:
            raise _misfit(segmenter, source, folder, error) from None
    if settings.parts == "encoder+decoder":
        decoder = _decoder_weights(folder)
        for name, part in segmenter.decoders.items():
            report.decoders[name] = load_weights(part, decoder, threshold=0.0)
    return report


def check_unseen(folder: str | Path, store: CaseStore, test: Sequence[str]) -> None:
    """Raise an error if pretraining saw a patient that tests, labels or not.

    Known if the encoder folder still lies in its run folder, and both used the same store.
    """
    file = Path(folder).parent / "data.json"
    about = read_json(file) if file.is_file() else {}
    if about.get("fingerprint") != store.fingerprint:
        return
    seen = {store.rows[c]["patient"] for part in ("training", "validation") for c in about[part]}
    both = seen & {store.rows[case]["patient"] for case in test}
    if both:
        raise DataError(
            "no test patient may have been seen in pretraining",
            file=folder,
            found=", ".join(sorted(both)[:3]),
            remedy="give both commands the same split.test and split.seed",
        )


def _decoder_weights(folder: Path) -> dict[str, Tensor]:
    if not (folder / DECODER).is_file():
        raise CheckpointError(
            f"the encoder folder must hold {DECODER}",
            file=folder,
            remedy="set transfer.parts=encoder, or pretrain a task that has a decoder",
        )
    weights = read_weights(folder / DECODER)
    return {name: value for name, value in weights.items() if not name.startswith("heads.")}


def _misfit(
    segmenter: Segmenter, source: EncoderConfig, folder: Path, error: CheckpointError
) -> CheckpointError:
    ours, theirs = segmenter.config.encoder, source.architecture
    differences = [
        f"{key} is {ours.get(key, 'the default')} here, {theirs.get(key, 'the default')} there"
        for key in dict.fromkeys([*theirs, *ours])
        if ours.get(key) != theirs.get(key)
    ]
    return CheckpointError(
        error.rule,
        file=folder,
        found="; ".join(differences) + ("\n" if differences else "") + str(error.found),
        remedy="leave out `encoder`: it then follows the folder",
    )


def _notes(segmenter: Segmenter, source: EncoderConfig) -> list[str]:
    """Return what differs between pretraining and this segmenter."""
    notes, config = [], segmenter.config
    far = any(abs(a / b - 1) > 0.05 for a, b in zip(config.spacing, source.spacing, strict=True))
    if far:
        notes.append(f"pretrained at {_mm(source.spacing)}, used at {_mm(config.spacing)}")
    for name in segmenter.modalities:
        if name not in source.modalities:
            notes.append(f"{name} was never seen in pretraining ({', '.join(source.modalities)})")
        theirs, ours = source.intensity.get(name, {}), scale_of(name)
        changed = [key for key in ours if key in theirs and theirs[key] != ours[key]]
        notes += [f"{key} of {name} was {theirs[key]}, now {ours[key]}" for key in changed]
    if source.orientation != config.orientation:
        notes.append(f"orientation was {source.orientation}, now {config.orientation}")
    return notes


def _mm(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{s:g}" for s in spacing) + " mm"
