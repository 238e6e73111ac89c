"""Fill a segmenter from pretrained weights of any kind, and report on every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hilum.core.checkpoints import EncoderConfig, LoadReport, load_weights, state_of
from hilum.core.errors import CheckpointError
from hilum.core.input_scale import scale_of
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import Output
from hilum.segmenter.segmenter import Segmenter

from .heads import carry, matches
from .rules import other_start, same_rule
from .settings import TransferSettings
from .sources import Source, Start, read_start


@dataclass
class TransferReport:
    """What came from where.

    Attributes:
        source: The folders.
        encoders: Report of each encoder.
        decoders: Report of each decoder; empty if none was asked for.
        rest: Report of what a fusion strategy has next to them; none if another strategy was read.
        notes: Differences that do not stop the transfer but may lower its worth.
    """

    source: str
    encoders: dict[str, LoadReport]
    decoders: dict[str, LoadReport] = field(default_factory=dict)
    rest: LoadReport | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def covered(self) -> float:
        """Smallest fraction of the parameters that any encoder got."""
        return min(report.covered for report in self.encoders.values())

    @property
    def taken(self) -> list[str]:
        """Addresses of the decoders that got weights."""
        return [name for name, one in self.decoders.items() if one.loaded or one.adapted]

    @property
    def whole(self) -> bool:
        """Whether every decoder got heads, too."""
        return bool(self.decoders) and all(one.adapted for one in self.decoders.values())

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        rows = [f"weights from {self.source}"]
        for kind, reports in (("encoder ", self.encoders), ("decoder ", self.decoders)):
            for name, report in reports.items():
                first, *rest = report.lines()
                rows += [f"{kind}{name}: {first}", *rest]
        if self.rest is not None:
            first, *rest = self.rest.lines()
            rows += [f"fusion: {first}", *rest]
        return [*rows, *(f"note: {note}" for note in self.notes)]

    def as_json(self) -> dict[str, Any]:
        """Return the whole report."""
        return {
            "source": self.source,
            "covered": self.covered,
            "encoders": {name: report.as_json() for name, report in self.encoders.items()},
            "decoders": {name: report.as_json() for name, report in self.decoders.items()},
            "fusion": None if self.rest is None else self.rest.as_json(),
            "notes": self.notes,
        }


def transfer(
    segmenter: Segmenter,
    init_from: str | Path | Mapping[str, str | Path] | Start,
    settings: TransferSettings,
) -> TransferReport:
    """Load an encoder, network or segmenter folder, or one per modality, into a segmenter.

    Each encoder gets the pretrained one that saw most of its modalities. One that sees fewer than
    it gets the slices of the stem that belong to them: it then computes exactly what the pretrained
    network does with zeros (on the network's scale, as for an absent modality) in the others.

    Each decoder gets that of the network which is closest to its modalities, as far as names and
    shapes fit; its heads only where they mean the same (`heads.matches`).

    Raises:
        CheckpointError: If a folder holds something else or covers too little of an encoder, if a
            decoder or matching heads are asked for and there are none. The segmenter may then be
            partly filled: discard it.
    """
    start = init_from if isinstance(init_from, Start) else read_start(init_from)
    report = TransferReport(start.name, {}, notes=_notes(segmenter, start))
    for name, encoder in segmenter.encoders.items():
        source = start.best(segmenter.inputs[name])
        assert source is not None
        if len(start.sources) > 1:
            report.notes.append(f"encoder {name} from that of {', '.join(source.modalities)}")
        try:
            report.encoders[name] = load_weights(
                encoder,
                source.encoder,
                source=source.modalities,
                target=segmenter.inputs[name],
                stem=encoder.stem,
                threshold=settings.threshold,
            )
        except CheckpointError as error:
            raise _misfit(segmenter, source, error) from None
    if settings.with_decoder:
        _decoders(segmenter, start, settings, report)
        if settings.parts in ("auto", "whole"):
            _rest(segmenter, start, report)
    return report


def _decoders(
    segmenter: Segmenter, start: Start, settings: TransferSettings, report: TransferReport
) -> None:
    """Fill every decoder that there is something for."""
    demanded = settings.parts != "auto"
    for address, decoder in segmenter.decoders.items():
        last = address.rpartition(".")[2]
        seen = (last,) if last in segmenter.modalities else segmenter.modalities
        source = start.best(seen, decoder=True)
        alone = start.alone.get(address)
        given = alone or (None if source is None else source.decoder)
        if given is None:
            if demanded:
                raise CheckpointError(
                    "the folder must hold a decoder",
                    file=start.name,
                    found="an encoder alone",
                    remedy="give `network` of the same run, or set transfer.parts=encoder",
                )
            continue
        outputs = source.outputs if alone is None and source is not None else _outputs(start)
        if len(start.sources) > 1 and source is not None and alone is None:
            report.notes.append(f"decoder {address} from that of {', '.join(source.modalities)}")
        own = report.decoders[address] = _body(decoder, given)
        if demanded and not own.loaded:
            raise CheckpointError(
                "the decoder must fit that of the folder at least in part",
                file=start.name,
                found=f"{decoder.spec} here, {given.spec} there",
                remedy="leave out `decoder`, or set transfer.parts=encoder",
            )
        _heads(segmenter, decoder, given, outputs, start, settings, report, own)


def _heads(
    segmenter: Segmenter,
    decoder: Decoder,
    given: Decoder,
    outputs: Sequence[Output],
    start: Start,
    settings: TransferSettings,
    report: TransferReport,
    own: LoadReport,
) -> None:
    """Carry the heads of a decoder over, or say why they stay new."""
    if settings.parts == "encoder+decoder":
        _new_heads(decoder, own, "heads stay new with transfer.parts=encoder+decoder")
        return
    pairs = matches(outputs, segmenter.outputs, settings.classes)
    there, here = (", ".join(map(str, o)) for o in (outputs, segmenter.outputs))
    apart = f"{there} there, {here} here"
    why = other_start(segmenter, start) if pairs else f"of another meaning: {apart}"
    if why and settings.parts == "auto":
        _new_heads(decoder, own, why)
        return
    if not pairs:
        raise CheckpointError(
            "heads are carried over only where their outputs mean the same",
            file=start.name,
            found=apart,
            remedy="name the class that continues another, as in transfer.classes.node=lesion, "
            "or set transfer.parts=encoder+decoder",
        )
    if why and start.ruled:
        raise CheckpointError(
            "heads that correct a rule are carried over only with it",
            file=start.name,
            remedy="give the segmenter the folder's prior_rule, or set "
            "transfer.parts=encoder+decoder",
        )
    if why:
        report.notes.append("prior_rule: its logits are added to those of the folder's heads")
    if start.segmenter is not None:
        same_rule(segmenter, start.segmenter, pairs, report.notes)
    carry(decoder, given, pairs, segmenter.outputs, segmenter.config.prior, own)
    _count(decoder, own)


def _body(decoder: Decoder, given: Decoder) -> LoadReport:
    """Load all but the heads, under names of either; heads are neither missing nor unexpected."""
    heads = {name for level in given.head_rows() for name in level}
    weights = {name: value for name, value in state_of(given).items() if name not in heads}
    own = {name for level in decoder.head_rows() for name in level}
    weights = {name: value for name, value in weights.items() if name not in own}
    return load_weights(decoder, weights, threshold=0.0)


def _new_heads(decoder: Decoder, report: LoadReport, why: str) -> None:
    for level in decoder.head_rows():
        for name in level:
            report.missing[name] = why


def _count(decoder: Decoder, report: LoadReport) -> None:
    """Say anew how much of a decoder is covered, heads included."""
    state = state_of(decoder)
    got = sum(state[name].numel() for name in (*report.loaded, *report.adapted) if name in state)
    report.covered = got / max(sum(value.numel() for value in state.values()), 1)


def _rest(segmenter: Segmenter, start: Start, report: TransferReport) -> None:
    """Load what a strategy has beside encoders and decoders, from a segmenter of the same one."""
    theirs = start.segmenter
    if theirs is None:
        return
    if theirs.config.fusion != segmenter.config.fusion or theirs.modalities != segmenter.modalities:
        report.notes.append(
            f"fusion {segmenter.config.fusion} of {', '.join(segmenter.modalities)} starts new: "
            f"the folder has {theirs.config.fusion} of {', '.join(theirs.modalities)}"
        )
        return
    apart = ("encoders.", *(f"{address}." for address in segmenter.decoders))
    weights = {n: v for n, v in state_of(theirs.strategy).items() if not n.startswith(apart)}
    if weights:
        done = load_weights(segmenter.strategy, weights, threshold=0.0)
        done.missing = {n: why for n, why in done.missing.items() if not n.startswith(apart)}
        done.covered = len(done.loaded) / max(len(done.loaded) + len(done.missing), 1)
        report.rest = done


def _outputs(start: Start) -> tuple[Any, ...]:
    return () if start.segmenter is None else start.segmenter.outputs


def _misfit(segmenter: Segmenter, source: Source, error: CheckpointError) -> CheckpointError:
    ours, theirs = segmenter.config.encoder, source.about.architecture
    differences = [
        f"{key} is {ours.get(key, 'the default')} here, {theirs.get(key, 'the default')} there"
        for key in dict.fromkeys([*theirs, *ours])
        if ours.get(key) != theirs.get(key)
    ]
    return CheckpointError(
        error.rule,
        file=source.folder,
        found="; ".join(differences) + ("\n" if differences else "") + str(error.found),
        remedy="leave out `encoder`: it then follows the folder",
    )


def _notes(segmenter: Segmenter, start: Start) -> list[str]:
    """Return what differs between pretraining and this segmenter."""
    notes, config = [], segmenter.config
    for about in [source.about for source in start.sources]:
        far = any(abs(a / b - 1) > 0.05 for a, b in zip(config.spacing, about.spacing, strict=True))
        if far:
            notes.append(f"pretrained at {_mm(about.spacing)}, used at {_mm(config.spacing)}")
        notes += _scales(segmenter, about)
        if about.orientation != config.orientation:
            notes.append(f"orientation was {about.orientation}, now {config.orientation}")
    seen = {name for source in start.sources for name in source.modalities}
    notes += [
        f"{name} was never seen in pretraining ({', '.join(sorted(seen))})"
        for name in segmenter.modalities
        if name not in seen
    ]
    return list(dict.fromkeys(notes))


def _scales(segmenter: Segmenter, about: EncoderConfig) -> list[str]:
    notes = []
    for name in segmenter.modalities:
        scale = "zscore" if name in segmenter.config.zscored else "window"
        theirs, ours = about.intensity.get(name, {}), scale_of(name, scale)
        changed = [key for key in ours if key in theirs and theirs[key] != ours[key]]
        notes += [f"{key} of {name} was {theirs[key]}, now {ours[key]}" for key in changed]
    return notes


def _mm(spacing: tuple[float, float, float]) -> str:
    return " x ".join(f"{s:g}" for s in spacing) + " mm"
