"""What a run trains: the segmenter that settings, store and pretrained folders make together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.input_scale import scale_of, zscored
from hilum.core.seeds import derive
from hilum.core.settings import validate
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.recipe import preparation_of
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.prior_rule import PriorRuleSettings
from hilum.segmenter.segmenter import Segmenter, modalities_seen

from .regions import regions_of
from .settings import FinetuneSettings
from .transfer.load import TransferReport, transfer
from .transfer.rates import default_rate
from .transfer.sources import Start, check_names, read_start

DEFAULT_ENCODER: dict[str, Any] = {"name": "resenc"}


def modalities_of(store: CaseStore, settings: FinetuneSettings) -> tuple[str, ...]:
    """Return the modalities to use, in order.

    Raises:
        SettingsError: If the store lacks one.
    """
    for name in settings.modalities or ():
        if name not in store.modalities:
            raise SettingsError(
                f"the store must have {name!r}{did_you_mean(name, store.modalities)}",
                remedy=f"it has {', '.join(store.modalities)}",
            )
    return settings.modalities or store.modalities


def start_of(settings: FinetuneSettings, asked: Sequence[str]) -> Start | None:
    """Read what the run starts from."""
    if settings.init_from is None:
        return None
    check_names(settings.init_from, asked)
    return read_start(settings.init_from)


def config_of(
    store: CaseStore, settings: FinetuneSettings, asked: Sequence[str], start: Start | None
) -> SegmenterConfig:
    """Return what to build; modalities that the strategy does not see are left out of it.

    Else hiding one modality at random would hide the only one that a single-modality network has.
    """
    encoder, origin = settings.encoder or DEFAULT_ENCODER, "scratch"
    decoder = settings.decoder or {"name": "pyramid"}
    names = settings.names or ()
    if start is not None:
        source = start.about
        encoder = settings.encoder or source.architecture
        origin = f"{source.pretext.get('name', 'unknown')}, data {source.data_hash or 'unknown'}"
        if settings.decoder is None and settings.transfer.with_decoder and start.decoder:
            decoder = {k: v for k, v in start.decoder.items() if k != "deep_supervision"}
        old = start.segmenter
        if settings.names is None and old is not None and old.classes == max(store.classes, 2):
            names = old.config.names
    regions = regions_of(settings, store)
    if regions is not None:
        names = regions.names
    return validate(
        SegmenterConfig,
        {
            "modalities": modalities_seen(settings.fusion, asked),
            "classes": max(store.classes, 2) if regions is None else len(regions.names) + 1,
            "regions": settings.regions,
            "regions_class_order": () if regions is None else regions.order,
            "organs": len(settings.organs.numbers),
            "names": names,
            "encoder": encoder,
            "decoder": decoder,
            "fusion": settings.fusion,
            "deep_supervision": settings.deep_supervision,
            "prior": settings.prior,
            "prior_rule": _rule(settings, start),
            "patch": settings.patch,
            "spacing": store.spacing,
            "intensity": _zscored(settings, asked, start),
            "preparation": preparation_of(store),
            "inference": settings.inference,
            "data_hash": store.fingerprint,
            "licence": settings.licence,
            "extra": {"pretrained": origin},
        },
    )


def _rule(settings: FinetuneSettings, start: Start | None) -> PriorRuleSettings | None:
    """Return the rule to begin as: heads that correct one are worth nothing without it."""
    old = None if start is None else start.segmenter
    if settings.prior_rule is not None or old is None or not settings.transfer.with_heads:
        return settings.prior_rule
    return old.config.prior_rule


def _zscored(
    settings: FinetuneSettings, asked: Sequence[str], start: Start | None
) -> dict[str, dict[str, Any]]:
    """Return the scale of what the network sees as z-scores: as asked, else as it was trained."""
    for name in settings.scale:
        if name not in asked:
            raise SettingsError(
                f"scale must name a modality that is used{did_you_mean(name, asked)}",
                found=name,
                remedy=f"name {', '.join(asked)}",
            )
    found = {}
    for name in asked:
        source = None if start is None else start.best((name,))
        trained = () if source is None else zscored(source.about.intensity)
        scale = settings.scale.get(name, "zscore" if name in trained else "window")
        if scale == "zscore":
            found[name] = scale_of(name, "zscore")
    return found


def resolved(
    settings: FinetuneSettings,
    config: SegmenterConfig,
    split: Split,
    store: CaseStore,
    report: TransferReport | None,
) -> tuple[FinetuneSettings, list[str]]:
    """Return settings whose rate is chosen, and which it is, and why."""
    rule = config.prior_rule is not None
    if settings.transfer.rate is not None or (report is None and not rule):
        return settings, []
    patients = len({store.rows[name]["patient"] for name in split.train})
    choice = default_rate(patients, report is not None and report.whole, rule)
    chosen = settings.transfer.model_copy(update={"rate": choice.factor})
    told = f"transfer.rate is {choice.factor:g}: {choice.why}"
    return settings.model_copy(update={"transfer": chosen}), [told]


def segmenter_of(
    config: SegmenterConfig, settings: FinetuneSettings, start: Start | None
) -> tuple[Segmenter, TransferReport | None]:
    """Build the network from the seed, and fill its encoders if there is what to fill them with."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(settings.seed, "weights"))
        segmenter = Segmenter(config)
    if start is None:
        return segmenter, None
    return segmenter, transfer(segmenter, start, settings.transfer)


def start_line(
    settings: FinetuneSettings, store: CaseStore, split: Split, config: SegmenterConfig, out: Path
) -> str:
    """Return in one line who trains, validates and tests, the network, the steps and the folder."""
    parts = {"train": split.train, "validate": split.validation, "test": split.test}
    counts = {
        key: len({store.rows[case]["patient"] for case in part}) for key, part in parts.items()
    }
    patients = ", ".join(f"{count} {key}" for key, count in counts.items())
    network = (
        f"{config.encoder['name']}, {config.fusion['name']} fusion, {'+'.join(config.modalities)}"
    )
    return f"patients: {patients}; network: {network}; {settings.trainer.length()}; output: {out}"
