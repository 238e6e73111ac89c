"""Files next to a result that commands read back: the type of every field, or one clear error.

A file that was edited, cut off or written by something else is named with the first field that is
wrong, before anything is computed from it. Fields that others add are let through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from annotated_types import Ge, Len
from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from .errors import UserError
from .files import read_json
from .plain import check_shape

Count = Annotated[int, Ge(0)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Seconds = Annotated[Number, Ge(0)]
Names = list[str]
_ANY = ConfigDict(extra="allow", strict=True)


class SplitFile(TypedDict, total=False):
    """`split.json` of a run: cases by what they do."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues] - pydantic's own way
    pool: Names
    train: Names
    validation: Names
    test: Names
    left_out: Names


class SummaryFile(TypedDict, total=False):
    """`summary.json` of a run that is done."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    steps: Count
    patches: Count
    seconds: Seconds
    cpu_seconds: Seconds
    gpu_seconds: Seconds
    parameters: Annotated[Number, Ge(0)]
    flops: Annotated[Number, Ge(0)]
    training_flops: Annotated[Number, Ge(0)]
    stopped_early: bool
    ended_by: Literal["steps", "minutes", "patience"]
    best: float | None
    best_step: Count
    validations: Count
    store_changed_to: str


SummaryFile.__annotations__["val/patients"] = Seconds


class StatusFile(TypedDict):
    """`status.json` of a run."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    state: Literal["running", "interrupted", "failed", "done"]
    command: NotRequired[str]
    host: NotRequired[str]
    pid: NotRequired[Count]
    heartbeat: NotRequired[Seconds]
    step: NotRequired[Count]
    steps: NotRequired[Count]
    message: NotRequired[str]


class DataFile(TypedDict, total=False):
    """`data.json` of a run: what it began with."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    fingerprint: str
    training: Names
    validation: Names


class CellFile(TypedDict, total=False):
    """`cell.json` of a cell of a study."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    seconds: Seconds
    bytes: Count


class FailureFile(TypedDict, total=False):
    """`failed.json` of a cell whose last attempt failed."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    message: str


class TestedCase(TypedDict):
    """What a test measured of one case; undefined is NaN."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    patient: str
    metrics: dict[str, float | None]


class Job(TypedDict):
    """A job of a study that SLURM was given."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    id: str | int


class InputsFile(TypedDict):
    """`inputs.json` of a prepared case: when its files were looked at, and their hashes."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    seen: dict[str, list[str | int]]
    hashes: dict[str, str]


class EmbeddingsFile(TypedDict):
    """`embeddings.json` of `hilum embed`: network, hashes of weights and store, settings."""

    __pydantic_config__ = _ANY  # pyright: ignore[reportGeneralTypeIssues]
    folder: str
    weights: str
    store: str
    settings: dict[str, Any]
    modalities: Names
    window: Annotated[list[Annotated[int, Ge(1)]], Len(3, 3)]


AGAIN = "copy the folder again, or make it again in a new one"

SHAPES: dict[str, tuple[Any, str, str]] = {
    "split.json": (SplitFile, "a split of patients", AGAIN),
    "summary.json": (SummaryFile, "the summary of a run", AGAIN),
    "status.json": (StatusFile, "the status of a run", "remove it: the run notes it anew"),
    "data.json": (DataFile, "the data that a run began with", AGAIN),
    "cell.json": (CellFile, "the notes of a cell", "remove it: only times are lost"),
    "failed.json": (FailureFile, "a failure", "clear it with `hilum study retry`"),
    "metrics.json": (dict[str, dict[str, TestedCase]], "the metrics of test cases", AGAIN),
    "jobs.json": (list[Job], "the jobs of a study", "remove it when no job is in the queue"),
    "inputs.json": (InputsFile, "the inputs of a case", "remove it: files are hashed again"),
    "calibration.json": (dict[str, dict[str, Any]], "a calibration", "remove it"),
    "embeddings.json": (EmbeddingsFile, "embeddings", "make them again with `hilum embed`"),
    "pictures.json": (Names, "an index of pictures", "remove it with the pictures beside it"),
}
"""Type, meaning and remedy of each file by its name."""


def read_side(path: str | Path) -> Any:
    """Read a file of `SHAPES`.

    Raises:
        UserError: If it is missing, no JSON, or a field has another type; one line.
    """
    value = read_json(path)
    check_side(path, value)
    return value


def check_side(path: str | Path, value: Any) -> None:
    """Raise an error unless what was read of a file has the types that its name asks for."""
    shape, what, remedy = SHAPES[Path(path).name]
    check_shape(value, shape, file=path, what=what, remedy=remedy, error=UserError)
