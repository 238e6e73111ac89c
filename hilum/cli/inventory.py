"""What there is: tables of methods, settings of commands, contents of folders."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hilum.core.errors import SettingsError, did_you_mean
from hilum.core.methods import methods_of
from hilum.core.registry import Table

from .parameters import parameters

TABLES: dict[str, tuple[str, str]] = {
    "encoders": ("hilum.encoders", "ENCODERS"),
    "decoders": ("hilum.encoders.decoders", "DECODERS"),
    "fusion": ("hilum.fusion", "STRATEGIES"),
    "pretext": ("hilum.pretrain", "TASKS"),
    "losses": ("hilum.losses", "LOSSES"),
    "modalities": ("hilum.core.modality", "MODALITIES"),
    "formats": ("hilum.datasets.importers.importing", "FORMATS"),
    "metrics": ("hilum.evaluation.metrics.table", "METRICS"),
    "sources": ("hilum.exchange.weights_in", "SOURCES"),
    "labelling": ("hilum.annotate.strategies", "STRATEGIES"),
    "targets": ("hilum.exchange.networks_out.exporting", "TARGETS"),
}

SETTINGS: dict[str, tuple[str, str]] = {
    "phantom": ("hilum.datasets.phantoms.cohort", "PhantomSettings"),
    "prepare": ("hilum.datasets.prepare.run", "PrepareSettings"),
    "import-pattern": ("hilum.datasets.importers.pattern", "Pattern"),
    "import-table": ("hilum.datasets.importers.table", "Table"),
    "import-dicom": ("hilum.datasets.dicom.settings", "DicomLayout"),
    "export-nnunet": ("hilum.datasets.nnunet_export", "NnunetExport"),
    "preview": ("hilum.datasets.preview_store", "PreviewSettings"),
    "pretrain": ("hilum.pretrain.settings", "PretrainSettings"),
    "finetune": ("hilum.finetune.settings", "FinetuneSettings"),
    "plan": ("hilum.finetune.plan", "PlanSettings"),
    "annotate-plan": ("hilum.annotate.planning.settings", "LabellingSettings"),
    "annotate-propose": ("hilum.annotate.proposing.settings", "ProposalSettings"),
    "annotate-take": ("hilum.annotate.taking.settings", "TakeSettings"),
    "embed": ("hilum.annotate.embedding.settings", "EmbedSettings"),
    "calibrate": ("hilum.segmenter.calibration.choose", "ChoiceSettings"),
    "evaluate": ("hilum.evaluation.settings", "EvaluationSettings"),
    "robustness": ("hilum.segmenter.assessment.robustness", "RobustnessSettings"),
    "study": ("hilum.study.settings", "StudySettings"),
}

SAME = {"compare": "evaluate", "bench": "finetune"}
"""Commands that have the settings of another; `bench --pretrain` has those of `pretrain`."""


def tables(
    what: str | None = None, cost: bool = False, patches: Sequence[int] = ()
) -> Iterable[str]:
    """Return one line per entry of a table, or of all tables.

    Encoders alone come with their sizes; with `cost`, each is built and measured on this machine,
    line by line.

    Args:
        what: Name of a table.
        cost: Whether to say what encoders or fusion strategies cost.
        patches: Sides of the patches for the cost of fusion; 96 and 128 if not given.
    """
    if cost and what not in ("encoders", "fusion"):
        raise SettingsError(
            "only encoders and fusion have a cost", remedy="use `hilum list fusion --cost`"
        )
    if patches and not (cost and what == "fusion"):
        raise SettingsError(
            "--patch is of the cost of fusion", remedy="use `hilum list fusion --cost --patch 96`"
        )
    if what == "encoders":
        return _encoders(cost)
    if cost:
        from .cost_tables import PATCHES, check_patches, fusion_costs

        return fusion_costs(check_patches(patches or PATCHES))
    lines: list[str] = []
    for name in [_known(what, TABLES)] if what else TABLES:
        module, attribute = TABLES[name]
        table: Table = getattr(importlib.import_module(module), attribute)
        width = max(map(len, table))
        lines += [name, *(f"  {key:<{width}}  {purpose(table, key)}" for key in table)]
        lines += [*(f"  warning: {fault}" for fault in table.faults()), ""]
    return lines[:-1]


def _encoders(cost: bool) -> Iterable[str]:
    """Yield families with their sizes: parameters (two channels), strides, what a patch must be."""
    from hilum.encoders import ENCODERS
    from hilum.encoders.presets import families

    from .cost_tables import encoder_cost

    yield "encoders"
    for name, family in families().items():
        yield f"  {name}  {purpose(ENCODERS, name)}"
        if family.note:
            yield f"    {'':6}  {family.note}"
        for size, preset in family.sizes.items():
            line = f"    {size:<6}  {preset.parameters / 1e6:>6.1f} M parameters"
            line += f"  strides {preset.steps}  {preset.rule}"
            yield line + (encoder_cost(name, size) if cost else "")
    yield from (f"  warning: {fault}" for fault in ENCODERS.faults())
    if cost:
        yield "one patch of two channels, sides 32 or the next that fit, one thread, this machine"


def settings_of(command: str, schema: bool = False, methods: Sequence[str] = ()) -> list[str]:
    """Return the settings of a command as text, or its JSON schema, or parameters of methods."""
    if methods and schema:
        raise SettingsError("the schema is that of a command", remedy="leave out --schema")
    if methods:
        return method_settings(command, methods)
    if schema:
        schema_text = json.dumps(_model(command).model_json_schema(), indent=1)
        return [schema_text.replace(" of the {group}", "")]
    rows = setting_rows(command)
    width = max(len(key) for key, _, _ in rows)
    return [f"{key:<{width}}  {text} [{default}]" for key, text, default in rows]


def method_settings(command: str, asked: Sequence[str]) -> list[str]:
    """Return the parameters of methods, each with its meaning and default, a line each.

    Args:
        command: Whose settings name the methods.
        asked: Settings and methods, as in `loss=tversky`.

    Raises:
        SettingsError: If a setting is no method, or there is none of the name.
    """
    kinds = methods_of(_model(command))
    rows: list[tuple[str, str, str]] = []
    for text in asked:
        key, sign, name = text.partition("=")
        if not sign or key not in kinds:
            raise SettingsError(
                "a method must be written SETTING=NAME" + did_you_mean(key, kinds),
                found=text,
                remedy=f"methods of {command}: {', '.join(kinds) or 'none'}",
            )
        module, attribute = TABLES[kinds[key]]
        table: Table = getattr(importlib.import_module(module), attribute)
        name = _known(name, table)
        rows.append((f"{key}.name", purpose(table, name), name))
        own = parameters(table[name], kinds[key])
        rows += [(f"{key}.{one}", meaning, default) for one, meaning, default in own]
    width = max(len(key) for key, _, _ in rows)
    return [f"{key:<{width}}  {text} [{default}]" for key, text, default in rows]


def setting_rows(command: str) -> list[tuple[str, str, str]]:
    """Return name, meaning and default of each setting of a command."""
    return list(_rows(_model(command), ""))


def _model(command: str) -> Any:
    module, attribute = SETTINGS[_known(SAME.get(command, command), SETTINGS)]
    return getattr(importlib.import_module(module), attribute)


def _known(name: str, table: Mapping[str, object]) -> str:
    if name not in table:
        raise SettingsError(
            f"unknown name {name!r}{did_you_mean(name, table)}",
            remedy=f"choose from {', '.join(table)}",
        )
    return name


def purpose(table: Table, name: str) -> str:
    """Return one line on an entry: its docstring, or its own text; and its distribution."""
    try:
        origin = table.origin(name)
        facts = None if table.objects else table.facts(name)
        text = facts.values.get("title", facts.summary) if facts else _own_text(table[name])
    except SettingsError:
        return "cannot be used"
    return f"{text} [{origin}]" if origin.owner else text


def _own_text(entry: object) -> str:
    told = (getattr(entry, name, None) for name in ("definition", "unit", "title"))
    return next(str(text) for text in told if text is not None)


def _rows(
    model: Any, prefix: str, above: object = None, group: str = ""
) -> Iterable[tuple[str, str, str]]:
    """Yield name, meaning and default of each setting; a group may have defaults of its own.

    Where a description holds `{group}`, that of the group takes its place.
    """
    for name, field in model.model_fields.items():
        inner = field.annotation
        if above is not None:
            default = getattr(above, name)
        elif field.is_required():
            default = None if hasattr(inner, "model_fields") else "required"
        else:
            default = field.get_default(call_default_factory=True)
        if hasattr(inner, "model_fields"):
            yield from _rows(inner, f"{prefix}{name}.", default, field.description or "")
            continue
        meaning = (field.description or "").replace("{group}", group)
        yield f"{prefix}{name}", meaning, str(default)
