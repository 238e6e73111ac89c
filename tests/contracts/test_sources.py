"""Our own sources keep what `hilum contract` asks of anyone's."""

from hilum.contracts.sources import *  # noqa: F403
from hilum.exchange.weights_in import SOURCES
from hilum.exchange.weights_in.source import WeightSource


def test_each_of_ours_has_an_example_so_that_no_check_is_skipped() -> None:
    assert not [n for n in SOURCES.ours if SOURCES[n].example is WeightSource.example]
