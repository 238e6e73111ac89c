"""Our own losses keep what `hilum contract` asks of anyone's."""

from hilum.contracts.losses import *  # noqa: F403
