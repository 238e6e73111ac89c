"""Settings of transfer: what to take from pretrained weights, and how gently to train it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hilum.core.settings import Settings

Parts = Literal["auto", "encoder", "encoder+decoder", "whole"]
Method = Literal["full", "frozen", "first_layers", "norms", "adapters", "probe"]


class TransferSettings(Settings):
    """What to take from pretrained weights, and how gently to train it."""

    parts: Parts = Field(
        "auto",
        description="what to load; whole: heads too, where meanings match; auto: all that the "
        "folder has and that means the same here",
    )
    classes: dict[str, str] = Field(
        default_factory=dict,
        description="class of the pretrained network, or of pseudo.keep, that a class continues, "
        "where names differ",
    )
    threshold: float = Field(
        0.9,
        ge=0,
        le=1,
        description="minimum fraction of each encoder's parameters that must be loaded",
    )
    rate: float | None = Field(
        None,
        gt=0,
        description="learning rate of everything as a factor; empty: 0.2 for a whole pretrained "
        "network with at most five labelled patients, and for prior_rule with at most four, else 1",
    )
    encoder_rate: float = Field(1.0, gt=0, description="encoder learning-rate multiplier, ratio")
    decoder_first: float = Field(
        0.0, ge=0, lt=1, description="encoders frozen at the start, fraction of the steps"
    )
    sawtooth: bool = Field(
        False,
        description="whether the decoder's rate rises during decoder_first, and all rates rise "
        "again after it",
    )
    method: Method = Field(
        "full",
        description="what trains: full: all; frozen: all but the encoders; first_layers: "
        "a fraction of each encoder's layers, from the image on, and all else; norms: norms and "
        "biases of encoders and pretrained decoders, and all else, heads included; adapters: "
        "low-rank adapters in the encoders, and all else; probe: only a linear head on the "
        "features",
    )
    layers: float = Field(
        0.75,
        gt=0,
        lt=1,
        description="fraction of an encoder's layers that first_layers trains, rounded up",
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="layer-wise learning-rate decay, ratio of a layer to the next"
    )
    other_cohort: bool = Field(
        False,
        description="whether patients of init_from, pseudo.segmenter or pseudo.keep with names as "
        "here are other people; their scans are compared all the same",
    )
    spend_test: bool = Field(
        False,
        description="whether patients that tested init_from may train: they test no more then",
    )
    rank: int = Field(8, ge=1, description="rank of low-rank adapters (LoRA)")
    alpha: float = Field(
        16.0, gt=0, description="LoRA alpha: scaling of the adapters times their rank, no unit"
    )
    pull: float = Field(
        0.0,
        ge=0,
        description="weight of the pull of pretrained encoders and decoders, not heads, to their "
        "weights at the start (L2-SP: half the squared distance), instead of weight decay",
    )

    @model_validator(mode="after")
    def _one_method(self) -> TransferSettings:
        if self.method == "probe" and self.parts not in ("auto", "encoder"):
            raise ValueError("a probe has a decoder of its own: set parts to encoder")
        if self.method in ("frozen", "adapters", "probe") and self.pull:
            raise ValueError("a pull needs encoders that train: set method to full")
        if self.sawtooth and not self.decoder_first:
            raise ValueError("sawtooth needs a part with the decoder alone: set decoder_first")
        if self.method in ("frozen", "probe") and (self.decoder_first or self.layer_decay < 1):
            raise ValueError(
                f"encoders do not train with method {self.method}: leave out their schedule"
            )
        return self

    @property
    def with_decoder(self) -> bool:
        """Whether the decoder follows the folder, if that has one."""
        return self.parts != "encoder" and self.method != "probe"

    @property
    def with_heads(self) -> bool:
        """Whether heads are taken where they mean the same."""
        return self.with_decoder and self.parts != "encoder+decoder"
