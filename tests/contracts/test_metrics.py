"""Our own metrics keep what `hilum contract` asks of anyone's."""

from hilum.contracts.metrics import *  # noqa: F403
