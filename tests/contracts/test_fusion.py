"""Our own fusion strategies keep what `hilum contract` asks of anyone's."""

from hilum.contracts.fusion import *  # noqa: F403
