"""A study as a W&B sweep: the grid over its factors, whose agents run `hilum study cell`.

A front end only: agents need a network, and W&B knows neither dependencies nor what is done. Each
agent therefore runs, or waits for, the pretraining that its cell needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hilum.core.errors import SettingsError
from hilum.core.files import write_text
from hilum.core.settings import write_yaml

from ..settings import StudySettings


def write_sweep(study: StudySettings, out: Path, program: list[str]) -> Path:
    """Write `sweep.yaml` and the study that its agents read; return the first.

    Args:
        study: The study.
        out: Folder of the study.
        program: How an agent starts hilum.

    Raises:
        SettingsError: If a level is no word or number, which is all that W&B hands on.
    """
    for name, levels in study.factors.items():
        for level in levels:
            if not isinstance(level, str | int | float):
                raise SettingsError(
                    f"levels of {name!r} must be words or numbers for a sweep",
                    found=repr(level),
                    remedy="name the levels: {short: {" + name + ": ...}}",
                )
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    write_yaml(out / "study.yaml", study)
    sweep: dict[str, Any] = {
        "name": study.name,
        "project": study.name,
        "description": study.question,
        "method": "grid",
        # Words: an agent would write 1.0 where the study has 1.
        "parameters": {
            name: {"values": [str(level) for level in levels]}
            for name, levels in study.factors.items()
        },
        "command": [
            *program,
            "study",
            "cell",
            str(out / "study.yaml"),
            "--out",
            str(out),
            "${args_no_hyphens}",
        ],
    }
    write_text(out / "sweep.yaml", yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
    return out / "sweep.yaml"
