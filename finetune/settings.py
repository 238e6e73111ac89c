"""Settings of fine-tuning; the defaults are the recipe for few labelled patients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hilum.core.geometry import IntTriple
from hilum.core.input_scale import ScaleName
from hilum.core.methods import Method
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.datasets.augmentation.settings import AugmentationSettings
from hilum.datasets.loading.node_copies import CopySettings
from hilum.datasets.splits import SplitSettings
from hilum.datasets.store.pool_settings import PoolSettings
from hilum.losses import LOSSES
from hilum.segmenter.assessment.robustness_settings import RobustnessSettings
from hilum.segmenter.baseline.rule import BaselineSettings
from hilum.segmenter.calibration.choose import ChoiceSettings
from hilum.segmenter.inference.settings import InferenceSettings
from hilum.segmenter.organ_settings import OrganSettings
from hilum.segmenter.prior_rule import PriorRuleSettings
from hilum.training.settings import TrainerSettings

from .modality_dropout import MissingSettings
from .semi_supervised.settings import PseudoSettings, TeacherSettings
from .synthetic_nodes import SyntheticSettings
from .transfer.settings import TransferSettings

TRAINER: dict[str, Any] = {"learning_rate": 1e-3, "warmup": 0.1, "ema": 0.99}
"""Where the recipe differs from the trainer's own defaults."""


class FinetuneSettings(PoolSettings):
    """A segmenter from n labelled patients."""

    seed: int = Field(0, ge=0, description="seed of weights, patches and augmentation")
    split: SplitSettings = Field(
        default_factory=lambda: validate(SplitSettings, {}), description="patients"
    )
    modalities: tuple[str, ...] | None = Field(
        None, min_length=1, description="modalities to use, in this order; empty: the store's"
    )
    encoder: Annotated[dict[str, Any], Method("encoders")] | None = Field(
        None, description="name and parameters; empty: as in init_from, else resenc"
    )
    decoder: Annotated[dict[str, Any], Method("decoders")] | None = Field(
        None, description="name and parameters; empty: as in init_from, else pyramid"
    )
    scale: dict[str, ScaleName] = Field(
        default_factory=dict,
        description="scale of a modality's input, window or zscore (of the whole volume); empty: "
        "as in init_from, else window",
    )
    fusion: Annotated[dict[str, Any], Method("fusion")] = Field(
        {"name": "early"}, description="name and parameters"
    )
    names: tuple[str, ...] | None = Field(
        None,
        description="name of each class but the background; empty: as in init_from if that is a "
        "segmenter of as many classes, else node, or class 1, class 2",
    )
    regions: dict[str, tuple[int, ...]] = Field(
        default_factory=dict,
        description="class numbers of the label in each region, which may overlap, as in "
        "{whole: [1, 2], core: [2]}; empty: the classes of the label, of which each voxel has one",
    )
    regions_class_order: tuple[int, ...] = Field(
        (),
        description="number that each region writes into the mask, later ones over earlier ones, "
        "as in nnU-Net; empty: the first of its values that no later region has",
    )
    init_from: Path | dict[str, Path] | None = Field(
        None,
        description="encoder, network or segmenter folder to start from, or one per modality; "
        "empty: scratch",
    )
    transfer: TransferSettings = Field(
        default_factory=lambda: validate(TransferSettings, {}), description="use of init_from"
    )
    patch: IntTriple = Field((64, 64, 64), description="sides of a patch in voxels")
    foreground: float = Field(
        0.67,
        ge=0,
        le=1,
        description="fraction of patches on a lymph node: a voxel of it is up to a quarter of each "
        "side off the centre",
    )
    hard: float = Field(
        0.0,
        ge=0,
        le=1,
        description="fraction of patches on uptake (SUV above 2.5) off the label, placed likewise; "
        "with foreground at most 1",
    )
    copies: CopySettings = Field(
        default_factory=lambda: validate(CopySettings, {}),
        description="labelled nodes of other training patients, pasted into patches",
    )
    deep_supervision: bool = Field(True, description="loss on coarse decoder outputs, too")
    prior: float = Field(
        0.01,
        gt=0,
        lt=0.5,
        description="prior probability per foreground class; initialises the output bias",
    )
    baseline: BaselineSettings | None = Field(
        None,
        description="a rule on the uptake in place of a network: nothing is trained, test patients "
        "are segmented by it, as in baseline.limit=2.5; empty: a network",
    )
    prior_rule: PriorRuleSettings | None = Field(
        None,
        description="rule to begin as, which the network corrects: SUV above a limit, as in "
        "prior_rule.limit=auto; empty: as in init_from if its heads are taken, else none",
    )
    loss: Annotated[dict[str, Any], Method("losses")] = Field(
        {"name": "dice_ce"}, description="name and parameters; without a name, Dice and CE"
    )
    soft: bool = Field(
        True,
        description="whether training learns soft labels, the fraction of raters for each class, "
        "where the store was prepared with raters=mean; otherwise their majority",
    )
    augmentation: AugmentationSettings = Field(
        default_factory=lambda: validate(AugmentationSettings, {}), description="augmentation"
    )
    synthetic: SyntheticSettings = Field(
        default_factory=lambda: validate(SyntheticSettings, {}),
        description="lymph nodes pasted into labelled patches, and replayed on unlabelled ones",
    )
    missing: MissingSettings = Field(
        default_factory=lambda: validate(MissingSettings, {}),
        description="modality dropout by a schedule; distillation from all modalities to a subset",
    )
    teacher: TeacherSettings = Field(
        default_factory=lambda: validate(TeacherSettings, {}),
        description="a mean teacher on the unlabelled cases of the pool",
    )
    pseudo: PseudoSettings = Field(
        default_factory=lambda: validate(PseudoSettings, {}),
        description="pseudo-labels for the unlabelled cases of the pool",
    )
    organs: OrganSettings = Field(
        default_factory=lambda: validate(OrganSettings, {}),
        description="organs to learn in addition to the nodes",
    )
    trainer: TrainerSettings = Field(
        default_factory=lambda: validate(TrainerSettings, TRAINER),
        description=f"training; by default {', '.join(f'{k} {v:g}' for k, v in TRAINER.items())}",
    )
    validate_on: Literal["cases", "patches"] = Field(
        "cases", description="what val/dice is measured on: whole cases, or fixed patches"
    )
    pictures: int = Field(2, ge=0, description="validation cases drawn at every validation")
    inference: InferenceSettings = Field(
        default_factory=lambda: validate(InferenceSettings, {}), description="sliding window"
    )
    operating_point: ChoiceSettings = Field(
        default_factory=lambda: validate(ChoiceSettings, {}),
        description="choice of the operating point on the validation patients, or with by=expected "
        "on unlabelled ones; without any it is the most probable class",
    )
    evaluate_test: bool = Field(True, description="whether to evaluate on the test patients")
    conditions: tuple[str, ...] | None = Field(
        None,
        description="modality subsets at test time, such as ct+pet; empty: all, then each alone",
    )
    robustness: dict[str, Any] | None = Field(
        None,
        description="rows of the robustness matrix on the test patients, as in `hilum settings "
        "robustness`; {} for the usual rows; empty: no matrix",
    )
    licence: str = Field("", description="licence of the weights, for the model card")

    @field_validator("robustness")
    @classmethod
    def _known_rows(cls, rows: dict[str, Any] | None) -> dict[str, Any] | None:
        """Find a wrong row before anything is trained."""
        if rows is not None:
            validate(RobustnessSettings, rows)
        return rows

    @field_validator("loss")
    @classmethod
    def _known_loss(cls, loss: dict[str, Any]) -> dict[str, Any]:
        """Name the loss, and find a wrong parameter before anything is read."""
        named = {"name": "dice_ce", **loss}
        build(LOSSES, named)
        return named

    @field_validator("trainer")
    @classmethod
    def _whole_weights(cls, trainer: TrainerSettings) -> TrainerSettings:
        if trainer.strategy == "fsdp":
            raise ValueError("fine-tuning freezes and thaws whole weights: set strategy to ddp")
        return trainer

    @model_validator(mode="after")
    def _maps_are_of_labels(self) -> FinetuneSettings:
        """Refuse a loss whose maps are made of a label before nodes are pasted into it."""
        if self.synthetic.on and build(LOSSES, self.loss).mapped:
            raise ValueError(
                f"synthetic nodes do not go with loss.name={self.loss['name']}, which reads maps "
                "of the label: set loss.name=dice_ce"
            )
        if self.synthetic.replay and self.organs.numbers:
            raise ValueError(
                "unlabelled patches have no organs to learn: set synthetic.replay to 0, or leave "
                "organs.numbers empty"
            )
        return self

    @model_validator(mode="after")
    def _something_to_adapt(self) -> FinetuneSettings:
        for name, asked in (
            ("method", self.transfer.method != "full"),
            ("pull", self.transfer.pull),
        ):
            if asked and self.init_from is None:
                raise ValueError(f"transfer.{name} needs pretrained encoders: set init_from")
        return self

    @model_validator(mode="after")
    def _nothing_to_learn(self) -> FinetuneSettings:
        asked = ("init_from", "prior_rule", "robustness")
        for name in asked if self.baseline is not None else ():
            if getattr(self, name) is not None:
                raise ValueError(f"a baseline has no network: leave out {name}, or baseline")
        return self

    @model_validator(mode="after")
    def _no_labels(self) -> FinetuneSettings:
        if self.split.labels == 0 and self.split.validation:
            raise ValueError(
                "without labels nobody validates: set split.validation=0, or split.labels=1"
            )
        asked = (
            self.teacher.weight,
            self.synthetic.replay,
            self.pseudo.segmenter,
            self.pseudo.keep,
        )
        if self.split.labels == 0 and any(asked):
            raise ValueError("without labels nothing is trained: set split.labels=1 or more")
        return self

    @model_validator(mode="after")
    def _shares_of_patches(self) -> FinetuneSettings:
        if self.foreground + self.hard > 1 + 1e-9:
            raise ValueError(
                f"foreground and hard are shares of the same patches, at most 1 together: "
                f"{self.foreground:g} and {self.hard:g}; set foreground={1 - self.hard:g}"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _recipe(cls, values: Any) -> Any:
        """Fill what is not said about the trainer from the recipe."""
        if isinstance(values, Mapping) and isinstance(values.get("trainer"), Mapping):
            return {**values, "trainer": {**TRAINER, **values["trainer"]}}
        return values
