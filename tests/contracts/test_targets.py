"""Our own targets keep what `hilum contract` asks of anyone's.

Those that trace a network take seconds a check; tests/exchange/networks_out exports each of them.
"""

from hilum.contracts.targets import *  # noqa: F403

NAMES = ("state_dict", "huggingface", "nnunet")
