"""The segmenter: encoders, fusion strategy and decoder in one network that a folder can hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from hilum.core.checkpoints import load_weights, save_folder
from hilum.core.errors import CheckpointError, SettingsError, UserError
from hilum.core.geometry import IntTriple
from hilum.core.input_scale import scale_of
from hilum.core.modality import modality
from hilum.core.registry import build, look_up
from hilum.core.seen import seen_in_words
from hilum.core.types import Available, Volume
from hilum.core.weights import read_weights
from hilum.encoders import ENCODERS
from hilum.encoders.base import Encoder
from hilum.encoders.decoders import DECODERS
from hilum.encoders.decoders.base import Decoder
from hilum.encoders.networks import Output, classes_of, regions_of
from hilum.fusion import STRATEGIES

from .adapters import has_adapters, merged
from .config import SegmenterConfig, read_segmenter_config
from .organ_head import folded
from .prediction.on_call import ScanPredictor
from .prior_rule import PriorRule, start_at_zero

STRATEGY_GETS = {"modalities": None, "encoders": None, "make_decoder": None}
"""What a fusion strategy is handed, beside its own parameters."""


class Segmenter(ScanPredictor):
    """Paired volumes in, logits out. Final.

    The fusion strategy says which encoders it wants and what each of them sees; all of them are
    built alike but for their input channels, and every decoder is the same, so that a comparison
    of strategies compares nothing else.

    Attributes:
        config: What it was built from.
        modalities: Name of each channel of the input.
        classes: Channels of the output.
        inputs: Modalities that each encoder sees, by the encoder's name.
        strategy: The fusion strategy, which holds encoders and decoders.
        rule: What the network's logits are added to, if it begins as a rule.
    """

    def __init__(self, config: SegmenterConfig) -> None:
        super().__init__()
        for name in config.modalities:
            modality(name)
        self.config = config
        self.modalities, self.classes = config.modalities, config.classes
        self.inputs = encoder_inputs(config.fusion, config.modalities)
        encoders = {
            name: build(ENCODERS, config.encoder, in_channels=len(seen))
            for name, seen in self.inputs.items()
        }
        for encoder in encoders.values():
            encoder.check_sides(config.patch)
        try:
            self.strategy = build(
                STRATEGIES,
                config.fusion,
                modalities=config.modalities,
                encoders=encoders,
                make_decoder=self._decoder,
            )
        except UserError:
            raise
        except (ValueError, TypeError) as error:
            raise SettingsError(
                "the fusion strategy must fit the encoder",
                found=f"{config.fusion}: {error}",
                remedy="choose another fusion or encoder",
            ) from None
        self.rule = self._rule()

    @property
    def networks(self) -> list[nn.Module]:
        """Itself: the mean of one."""
        return [self]

    @property
    def encoders(self) -> dict[str, Encoder]:
        """The encoders by name, as the strategy holds them."""
        return dict(self.strategy.encoders.items())  # pyright: ignore[reportReturnType]

    @property
    def decoders(self) -> dict[str, Decoder]:
        """Every decoder, by its address in the strategy."""
        return {
            name: part for name, part in self.strategy.named_modules() if isinstance(part, Decoder)
        }

    @property
    def outputs(self) -> tuple[Output, ...]:
        """What each output channel of a decoder means: background, classes, organs."""
        if self.config.regions:
            return regions_of(*self.config.class_names)
        organs = range(1, self.config.organs + 1)
        return classes_of(*self.config.class_names) + tuple(
            Output(kind="organ", name=str(n)) for n in organs
        )

    def forward(self, image: Volume, available: Available, organs: bool = False) -> list[Tensor]:
        """Predict logits, finest (full resolution) first.

        Args:
            image: One channel per modality on the scale of `core.modality`, or its volume's z-score
                where `config.zscored` says so; what an absent modality holds does not matter.
            available: Which modalities each case has; at least one.
            organs: Whether to give organs behind the classes; else they are background.
        """
        volumes = {name: image[:, i : i + 1] for i, name in enumerate(self.modalities)}
        levels = self.strategy(volumes, available)
        if self.rule is not None:
            levels = self.rule(levels, image, available)
        return levels if organs else [folded(level, self.classes) for level in levels]

    def save(
        self, folder: str | Path, card: str = "", beside: Mapping[str, Any] | None = None
    ) -> Path:
        """Write a segmenter folder (weights, `config.json`, model card), whole or not at all.

        Low-rank adapters are merged into the weights, so that no other library need be there to
        read the folder. `beside` are more JSON files, by name.
        """
        encoder = {key: value for key, value in self.config.encoder.items() if key != "weights"}
        zscored = self.config.zscored
        intensity = {
            name: scale_of(name, "zscore" if name in zscored else "window")
            for name in self.modalities
        }
        config = self.config.model_copy(update={"encoder": encoder, "intensity": intensity})
        plain = merged(self) if has_adapters(self) else self
        return save_folder(folder, plain, config, card or _card(config), beside)

    def use_linear_decoder(self) -> None:
        """Replace every decoder by a new linear one; all else keeps its weights."""
        if self.config.decoder["name"] == "linear":
            return
        decoders = tuple(f"{name}." for name in self.decoders)
        weights = self.strategy.state_dict()
        fresh = Segmenter(self.config.model_copy(update={"decoder": {"name": "linear"}}))
        kept = {name: value for name, value in weights.items() if not name.startswith(decoders)}
        fresh.strategy.load_state_dict(kept, strict=False)
        fresh.to(next(self.parameters()).device)
        self.config, self.strategy = fresh.config, fresh.strategy

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Segmenter:
        """Read a segmenter folder, ready to predict.

        Raises:
            CheckpointError: If the folder holds something else, or weights of another network.
        """
        config = read_segmenter_config(folder)
        segmenter = cls(config)
        weights = read_weights(folder, config.checksums)
        try:
            load_weights(segmenter, weights, threshold=1.0)
        except CheckpointError as error:
            raise CheckpointError(
                "weights and config.json of a segmenter must belong together",
                file=folder,
                found=error.found if error.found is not None else error,
                remedy="copy the whole folder again from where it was trained",
            ) from None
        return segmenter.eval()

    def _rule(self) -> PriorRule | None:
        """Return the rule to begin as, and let all else begin at zero."""
        config = self.config
        if config.prior_rule is None:
            return None
        rule = PriorRule(
            config.prior_rule, self.modalities, config.zscored, config.class_names, config.prior
        )
        self.strategy.forget_prior()
        start_at_zero(self.decoders.values(), self.classes, config.prior)
        return rule

    def _decoder(self, channels: Sequence[int], strides: Sequence[IntTriple]) -> nn.Module:
        config = self.config
        outputs = config.classes + config.organs
        return build(
            DECODERS,
            config.decoder,
            channels=channels,
            strides=strides,
            classes=outputs,
            deep_supervision=config.deep_supervision,
            prior=config.prior,
        )


def encoder_inputs(
    fusion: Mapping[str, Any], modalities: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """Return the modalities that each encoder of a fusion strategy sees, by encoder."""
    strategy, parameters = look_up(STRATEGIES, fusion, STRATEGY_GETS)
    try:
        return strategy.inputs(tuple(modalities), **parameters)
    except ValueError as error:
        raise SettingsError(f"fusion {fusion['name']}: {error}") from None


def modalities_seen(fusion: Mapping[str, Any], modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the modalities that a fusion strategy predicts from, in their order."""
    strategy, parameters = look_up(STRATEGIES, fusion, STRATEGY_GETS)
    try:
        return strategy.sees(tuple(modalities), **parameters)
    except ValueError as error:
        raise SettingsError(f"fusion {fusion['name']}: {error}") from None


def _scans(config: SegmenterConfig) -> str:
    """Return the options that give a scan of each modality; those without an own one are named."""
    return " ".join(
        f"--{name} {name.upper()}" if name in ("ct", "pet") else f"--modality {name}=FILE"
        for name in config.modalities
    )


def _card(config: SegmenterConfig) -> str:
    rows = {
        "Modalities (any subset works)": ", ".join(config.modalities),
        "Classes, background included": config.classes,
        "Encoder": config.encoder.get("name"),
        "Fusion": config.fusion.get("name"),
        "Spacing (mm, depth height width)": " x ".join(f"{s:g}" for s in config.spacing),
        "Patch (voxels)": " x ".join(map(str, config.patch)),
        "Pretrained": config.extra.get("pretrained", "unknown"),
        "Labelled training patients": config.extra.get("labelled_patients", "unknown"),
        "Validation Dice": config.extra.get("validation_dice", "not validated"),
        "Data": config.data_hash or "unknown",
        "Patients learned from": seen_in_words(config.seen),
        "Licence": config.licence or "not stated",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return f"""# Lymph-node segmenter for {" + ".join(config.modalities)}

| | |
| --- | --- |
{table}

Use it with `hilum predict FOLDER --out DIR {_scans(config)}`, or in Python:
`hilum.segmenter.segmenter.Segmenter.from_pretrained(folder)({", ".join(config.modalities)})`, the
scans by file.

For research only; not a medical device.
"""
