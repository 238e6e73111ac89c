"""Our own pretext tasks keep what `hilum contract` asks of anyone's."""

from hilum.contracts.pretext import *  # noqa: F403
