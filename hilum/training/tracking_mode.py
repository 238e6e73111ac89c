"""Whether W&B is told of a run at once, later or never, and as which run."""

from __future__ import annotations

import netrc
import os
import uuid
from pathlib import Path
from typing import Literal

from hilum.core.files import read_json, write_json


def mode_of(asked: Literal["offline", "online", "disabled"]) -> str:
    """Return the mode to use: online needs a key, and `WANDB_MODE` can only make it quieter."""
    order = ["online", "offline", "disabled"]
    wanted = os.environ.get("WANDB_MODE", "online").replace("dryrun", "offline")
    mode = max(asked, wanted if wanted in order else "online", key=order.index)
    return "offline" if mode == "online" and not _has_key() else mode


def _has_key() -> bool:
    """Say whether a login is there; W&B would ask for one and wait."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def identity_of(folder: Path) -> str:
    """Return the identity of the run in a folder, the same in every session."""
    file = folder / "tracking.json"
    if not file.exists():
        write_json(file, {"id": uuid.uuid4().hex[:12]})
    return read_json(file)["id"]
