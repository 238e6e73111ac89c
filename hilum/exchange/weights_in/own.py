"""Know a file that hilum itself wrote: its `config.json` says more than any source could."""

from __future__ import annotations

from hilum.core.checkpoints import EncoderConfig, read_config
from hilum.core.errors import CheckpointError
from hilum.encoders.networks import kind_of, read_network_config

from .reading import ForeignFile


def own_config(foreign: ForeignFile) -> EncoderConfig | None:
    """Return what hilum wrote next to the encoder of a file; nothing for files of other tools.

    Raises:
        CheckpointError: If the file is of a segmenter.
    """
    if "config" not in foreign.about:
        return None
    folder = foreign.path if foreign.path.is_dir() else foreign.path.parent
    try:
        kind = kind_of(folder)
    except CheckpointError:  # the configuration of another tool
        return None
    if kind == "segmenter":
        raise CheckpointError(
            "a segmenter of hilum needs no import",
            file=foreign.path,
            remedy="give the folder that `hilum finetune` wrote to init_from, which takes its "
            "encoders and knows whom they learned from",
        )
    return read_config(folder) if kind == "encoder" else read_network_config(folder).encoder
