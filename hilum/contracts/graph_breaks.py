"""Where torch.compile would have to leave its graph: counted without compiling kernels."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jaxtyping
from torch import nn

from hilum.core.compat import capturing

FORMS = 8
"""How many forms of a module (training or not, sides) are captured; as many as training allows."""


@dataclass
class Captured:
    """What was seen. Final.

    Attributes:
        graphs: Number of graphs.
        breaks: Why graphs were left, the first line of torch's explanation.
    """

    graphs: int = 0
    breaks: list[str] = field(default_factory=list)


@contextmanager
def captured(modules: Iterable[nn.Module], backend: str = "eager") -> Iterator[Captured]:
    """Run modules, inside the block, as torch.compile captures them; say afterwards what it saw.

    Values stay as they are. The modules remain marked for compiling: throw them away. A draw from
    a generator of one's own is a break: torch cannot capture one, so draws belong outside of what
    is compiled.

    Args:
        modules: To be compiled.
        backend: What runs a graph: `eager` as it was captured, `aot_eager` with a graph of the
            backward pass as kernels would be made from.
    """
    found, before = Captured(), jaxtyping.config.jaxtyping_disable
    # Tests check types and shapes at every call, which would become part of the graphs.
    jaxtyping.config.update("jaxtyping_disable", True)
    quiet = logging.root.manager.disable
    logging.disable(max(quiet, logging.DEBUG))  # the tracer's log, which pytest would keep
    try:
        with capturing(FORMS) as counters, warnings.catch_warnings():
            # torch's tracer looks at the gradient of an input that is no leaf, and warns of itself.
            warnings.filterwarnings("ignore", message="The .grad attribute of a Tensor")
            for module in modules:
                module.compile(backend=backend, dynamic=False)
            yield found
            found.graphs = counters["stats"]["unique_graphs"]
            found.breaks = [reason.split("\n")[0] for reason in counters["graph_break"]]
    finally:
        logging.disable(quiet)
        jaxtyping.config.update("jaxtyping_disable", before)
