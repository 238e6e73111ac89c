"""Other weights in a folder of ours, as if its network had been trained to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor


def put_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the weights and their checksum; the rest of `config.json` stays."""
    file, config = folder / "model.safetensors", folder / "config.json"
    save_file(dict(weights), file)
    about = json.loads(config.read_text())
    about["checksums"] = {file.name: sha256(file.read_bytes()).hexdigest()}
    config.write_text(json.dumps(about))
