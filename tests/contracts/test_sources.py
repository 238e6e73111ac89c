"""Our own sources keep what `hilum contract` asks of anyone's."""

from hilum.contracts.sources import *  # noqa: F403
