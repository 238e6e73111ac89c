"""The command that runs our contract tests on anyone's method."""

from __future__ import annotations

from typing import Annotated

import typer

from .console import clean_stop, say


@clean_stop
def contract(
    name: Annotated[
        str, typer.Argument(help="Name of a method, or its path as in mylab.fusion:Mine.")
    ],
    kind: Annotated[
        str | None,
        typer.Option(help="As in `hilum list`, for a name that several kinds have."),
    ] = None,
) -> None:
    """Run hilum's contract tests on a method: encoder, loss, importer, metric and so on."""
    from hilum.contracts.run import contract as run

    say(f"{name} keeps its contract: {run(name, kind)} checks passed")
