"""A study on a real SLURM: dependencies, requeue, cancel, and what is wrong with an order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.core.errors import UserError
from hilum.core.files import read_json
from hilum.core.settings import write_yaml
from hilum.study.commands import read, submit
from hilum.study.grid.cells import Cell
from hilum.study.run import control, ledger

from ...warm import python
from ..conftest import tiny_study
from .loopback import NoSlurmError, Slurm, running, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
LONG = {"steps": 300, "save_every": 300, "validate_every": 300, "log_every": 1}


@pytest.fixture(scope="module")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Slurm]:
    assert pytestconfig.cache is not None
    packages = pytestconfig.cache.mkdir("slurm")
    try:
        with running(tmp_path_factory.mktemp("slurm"), packages) as found:
            yield found
    except NoSlurmError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def slurm(cluster: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(sys, "executable", python())  # of the jobs
    yield cluster
    cluster.clear()


@pytest.fixture
def file(store: Path, tmp_path: Path) -> Path:
    """A study of a pretraining long enough to be interrupted, and what starts from it."""
    study = tiny_study(store, name="queued", reference={})
    study.factors["pretext"].pop("scratch")  # pyright: ignore[reportCallIssue, reportArgumentType]
    study.factors["seed"] = [0]
    study.pretrain["trainer"] = study.pretrain["trainer"] | LONG
    write_yaml(tmp_path / "study.yaml", study)
    return tmp_path / "study.yaml"


def states(cells: list[Cell]) -> list[str]:
    return [entry.state for entry in ledger.read(cells)]


def submitted(out: Path) -> list[str]:
    """Return the numbers of the jobs, pretraining first."""
    return [str(job["id"]) for job in read_json(out / "slurm" / "jobs.json")]


def journal(cell: Cell) -> list[str]:
    """Return the rows of metrics, times of the steps included, so that no rerun repeats them."""
    file = cell.folder / "metrics.jsonl"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_a_stopped_pretraining_goes_on_and_fine_tuning_waits_for_it(
    slurm: Slurm, file: Path, tmp_path: Path
) -> None:
    """The same cell is stopped twice: its time is over, then it is pre-empted."""
    out = tmp_path / "out"
    submit(file, out, engine="sbatch", say=lambda text: None)
    _, cells = read(file, out)
    first, after = (f"{job}_1" for job in submitted(out))
    wait_for(lambda: "Dependency" in slurm.jobs()[after], 10, lambda: str(slurm.jobs()))
    with pytest.raises(UserError, match="no jobs in the queue"):
        submit(file, out, engine="sbatch", say=lambda text: None)
    wait_for(lambda: len(journal(cells[0])) > 3, 240, lambda: str(slurm.jobs()))
    slurm("scancel", "--batch", "--signal=USR1", first)  # as --signal=B:USR1@120 does
    wait_for(lambda: "BeginTime" in slurm.jobs()[first], 60, lambda: str(slurm.jobs()))
    assert states(cells) == ["interrupted", "waiting"]
    once = journal(cells[0])
    wait_for(lambda: len(journal(cells[0])) > len(once) + 3, 240, lambda: str(slurm.jobs()))
    slurm("sbatch", "-p", "urgent", "-n", "2", "-o", "/dev/null", "--wrap", "sleep 1")
    wait_for(lambda: states(cells[:1]) == ["interrupted"], 60, lambda: str(slurm.jobs()))
    twice = journal(cells[0])
    assert not cells[1].folder.exists()
    slurm.drained()
    assert states(cells) == ["done", "done"], (cells[0].folder / "log.txt").read_text()
    whole = journal(cells[0])
    assert 3 < len(once) < len(twice) < len(whole)
    assert whole[: len(once)] == once, "the second attempt must go on where the first ended"
    assert whole[: len(twice)] == twice, "and the third where the second did"


def test_a_cancelled_study_saves_what_runs_and_leaves_the_queue(
    slurm: Slurm, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my work").mkdir()
    monkeypatch.chdir(tmp_path / "my work")
    out = tmp_path / "my work" / "a study"
    submit(file, out, engine="sbatch", say=lambda text: None)
    _, cells = read(file, out)
    first, after = submitted(out)
    wait_for(lambda: "Dependency" in slurm.jobs()[f"{after}_1"], 10, lambda: str(slurm.jobs()))
    wait_for(lambda: len(journal(cells[0])) > 3, 240, lambda: str(slurm.jobs()))
    assert control.cancel(out, cells) == [
        f"stopping  {cells[0].name}",
        *(f"taken out of the queue: what waits of job {job}" for job in (first, after)),
    ]
    slurm.drained()
    assert states(cells) == ["interrupted", "waiting"]
    assert list(out.glob("slurm/001/pretrain-*.log")), "its log lies where the script says"


def test_what_the_cluster_refuses_is_told_with_the_remedy(
    slurm: Slurm, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"invalid partition .*`sinfo` lists"):
        submit(file, tmp_path / "out", ["sbatch.partition=gpu"], engine="sbatch")
    assert slurm.jobs() == {}
