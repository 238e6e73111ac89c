"""Weights of other tools, each read into an encoder folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hilum.core.registry import Table

if TYPE_CHECKING:
    from .source import WeightSource

SOURCES: Table[type[WeightSource]] = Table(
    "sources",
    {
        "nnssl": "NnsslSource",
        "mae_pet_ct": "MaePetCtSource",
        "nnunet": "NnunetSource",
        "stunet": "StunetSource",
        "voco": "VocoSource",
        "suprem": "SupremSource",
        "swin_unetr": "SwinUnetrSource",
        "medicalnet": "MedicalnetSource",
        "models_genesis": "ModelsGenesisSource",
        "ct_fm": "CtFmSource",
        "timm_hub": "TimmHubSource",
        "transformers_hub": "TransformersHubSource",
        "plain": "PlainSource",
    },
    base="hilum.exchange.weights_in.source:WeightSource",
    room="hilum.exchange.weights_in",
)
"""Sources by name; `auto` asks each in this order, and `plain` only by its name."""
