"""Our own encoders keep what `hilum contract` asks of anyone's."""

from hilum.contracts.encoders import *  # noqa: F403
