"""Our own importers keep what `hilum contract` asks of anyone's."""

from hilum.contracts.formats import *  # noqa: F403
