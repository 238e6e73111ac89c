"""The commands of the front door that deal with weights of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hilum.core.errors import SettingsError

from .console import clean_stop, say

Architecture = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Encoder, as in name=resenc size=base."),
]


@clean_stop
def import_weights(
    source: Annotated[str, typer.Argument(help="As in nnssl or voco; `auto` finds out.")],
    file: Annotated[
        Path,
        typer.Argument(help="Weights file, folder, or owner/name[/file][@revision] on the hub."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    modalities: Annotated[str, typer.Option(help="One per input channel, as in ct,pet.")],
    architecture: Architecture = None,
    spacing: Annotated[
        str | None, typer.Option(help="mm along depth, height, width, as in 3,2,2.")
    ] = None,
    channels: Annotated[
        str, typer.Option(help="One channel to several: repeat, first or per_modality.")
    ] = "repeat",
    rename: Annotated[
        list[str] | None,
        typer.Option(help="plain: PATTERN=REPLACEMENT of whole names; repeat for more."),
    ] = None,
    threshold: Annotated[
        float, typer.Option(help="Minimum fraction of the encoder to load.")
    ] = 0.9,
    sha256: Annotated[str | None, typer.Option(help="Expected digest of the file.")] = None,
    licence: Annotated[str, typer.Option(help="Of the weights; empty: as published.")] = "",
    network: Annotated[
        bool, typer.Option("--network", help="Download a name on the hub, if it is not cached.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Write a network folder: encoder, decoder and heads.")
    ] = False,
) -> None:
    """Write an encoder folder from weights of another tool; KEY=VALUE sets its architecture."""
    from hilum.core.checkpoints import LoadReport, read_config
    from hilum.core.files import read_json
    from hilum.encoders.networks import read_network_config
    from hilum.exchange.weights_in.importing import REPORT
    from hilum.exchange.weights_in.importing import import_weights as run

    folder, report = run(
        source,
        file,
        out,
        modalities=[name.strip() for name in modalities.split(",")],
        spacing=_spacing(spacing),
        channels=channels,  # pyright: ignore[reportArgumentType] - checked there
        architecture=dict(_key_value(text, "architecture") for text in architecture or []),
        rename=dict(_pair(text) for text in rename or []),
        threshold=threshold,
        sha256=sha256,
        licence=licence,
        network=network,
        whole=whole,
    )
    config = read_network_config(folder) if whole else None
    imported = (read_config(folder) if config is None else config.encoder).extra["imported"]
    say(f"{imported['source']}: {imported['why']}")
    parts = {"": report}
    if whole:
        decoder = LoadReport(**read_json(folder / REPORT)["decoder"])
        parts = {"encoder: ": report, "decoder: ": decoder}
    for part, told in parts.items():
        head, *rows = told.lines()
        say(part + head)
        for row in rows:
            say(row)
    for name, how in imported["channels"].items():
        say(f"channels of {name}: {how}")
    for note in imported["notes"]:
        say(f"note: {note}")
    if config is not None:
        say(f"outputs: {', '.join(map(str, config.outputs))}")
    say(f"{'network' if whole else 'encoder'}: {folder}")


def _spacing(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        sides = tuple(float(part) for part in text.split(","))
    except ValueError:
        sides = ()
    if len(sides) != 3 or min(sides) <= 0:
        raise SettingsError(
            "spacing must be three numbers above 0", found=repr(text), remedy="as in 3,2,2"
        )
    return sides


def _key_value(text: str, what: str) -> tuple[str, Any]:
    from hilum.core.plain import PlainError, yaml_of

    key, sign, value = text.partition("=")
    if not sign or not key:
        raise SettingsError(f"{what} must be key=value", found=repr(text), remedy="as in size=base")
    try:
        return key, yaml_of(value)
    except PlainError as error:
        raise SettingsError(
            f"{key} must be a YAML value",
            found=f"{value!r}: {error}",
            remedy="put it in quotes, as in 'features=[16,32]'",
        ) from error


def _pair(text: str) -> tuple[str, str]:
    old, sign, new = text.partition("=")
    if not sign:
        raise SettingsError(
            "rename must be PATTERN=REPLACEMENT",
            found=repr(text),
            remedy="as in 'net.(.*)=inner.\\1'",
        )
    return old, new
