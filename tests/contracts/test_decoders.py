"""Our own decoders keep what `hilum contract` asks of anyone's."""

from hilum.contracts.decoders import *  # noqa: F403
