"""Refuse a file whose network lacks a part, or has one that hilum's lacks, in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from hilum.core.errors import CheckpointError, UserError

from .reading import ForeignFile


@contextmanager
def whole_network(foreign: ForeignFile) -> Iterator[None]:
    """Turn what a source trips over in a file into an error of the file.

    A source looks up tensors and settings that its tool always writes. It need not ask for each.

    Raises:
        CheckpointError: If anything but a `UserError` is raised inside.
    """
    try:
        yield
    except UserError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError
    ) as error:  # fmt: skip
        told = " ".join(str(error).split())
        raise CheckpointError(
            "the file must hold the whole network, as its tool writes it",
            file=foreign.path,
            found=f"no {told}"
            if isinstance(error, KeyError)
            else f"{type(error).__name__}: {told}",
            remedy="give the whole checkpoint, not a part of it",
        ) from error


def leftovers(weights: Mapping[str, Tensor], left: Sequence[str]) -> list[str]:
    """Return the names that hold a tensor of their own, not a second name of one that is used.

    Dropout in nnU-Net's blocks moves the second names of what follows it: `all_modules.2` is then
    a norm.

    Args:
        weights: What a source found, by our names.
        left: Those names that our network does not have.
    """
    unused = set(left)
    used = {tensor.data_ptr() for name, tensor in weights.items() if name not in unused}
    return [name for name in left if weights[name].data_ptr() not in used]


def refuse_leftovers(foreign: ForeignFile, part: str, lost: Sequence[str]) -> None:
    """Refuse a network that has more than ours: without that it computes something else.

    Args:
        foreign: The file.
        part: Of the network, for the message.
        lost: Names as `leftovers` gives them.

    Raises:
        CheckpointError: If there are any.
    """
    if lost:
        raise CheckpointError(
            f"hilum's {part} must have every tensor of the file's",
            file=foreign.path,
            found=f"{len(lost)} that it lacks, such as {lost[0]}",
            remedy="the file is of another network: give its architecture if hilum has it",
        )
