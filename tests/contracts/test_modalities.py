"""Our own modalities keep what `hilum contract` asks of anyone's."""

from hilum.contracts.modalities import *  # noqa: F403
