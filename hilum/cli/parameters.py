"""What can be set of a method: the parameters of its constructor, as its docstring tells them."""

from __future__ import annotations

import inspect
import re

GIVEN = frozenset(
    [
        *("in_channels", "channels", "strides", "classes"),
        *("modalities", "encoder", "encoders", "make_decoder"),
    ]
)
"""Parameters without a default that the run knows; nobody sets them."""

ELSEWHERE = {
    "losses": {"spacing"},
    "decoders": {"deep_supervision", "prior"},
    "pretext": {"spacing"},
}
"""Parameters that the run gives to methods of a kind; some are settings of the run itself."""

REQUIRED = "required"


def parameters(cls: type, kind: str) -> list[tuple[str, str, str]]:
    """Return name, meaning and default of each parameter that a user may set.

    Args:
        cls: A method; the section `Args` of its docstring, or of its constructor's, is read.
        kind: Its table, as in `hilum list`.
    """
    told = described(inspect.getdoc(cls) or "") | described(inspect.getdoc(cls.__init__) or "")
    rows = []
    for name, parameter in inspect.signature(cls).parameters.items():
        empty = parameter.default is inspect.Parameter.empty
        if (empty and name in GIVEN) or name in ELSEWHERE.get(kind, ()):
            continue
        rows.append((name, told.get(name, ""), REQUIRED if empty else str(parameter.default)))
    return rows


def described(doc: str) -> dict[str, str]:
    """Return what the section `Args` of a docstring says of each parameter, each in one line."""
    _, found, rest = doc.partition("\nArgs:\n")
    rows: dict[str, str] = {}
    name = ""
    for line in rest.splitlines() if found else ():
        if line.strip() and not line.startswith(" "):
            break
        begun = re.match(r"    (\w+): (.*)", line)
        if begun:
            name = begun[1]
            rows[name] = begun[2].strip()
        elif name and line.strip():
            rows[name] += f" {line.strip()}"
    return rows
