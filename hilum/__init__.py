"""Multimodal fusion and transfer learning for segmenting lymph nodes in paired scans.

The rooms, in the order in which data flows through them: `core`, `datasets`, `encoders`,
`fusion`, `evaluation`, `training`, `pretrain`, `finetune`, `study`. Importing `hilum` imports none
of them, so that the command line answers at once; import the room that you need.
"""

from importlib.metadata import version

__version__ = version("hilum")
