"""A distribution of another lab, installed as any, is found and used by all three roads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.datasets.store.case_store import CaseStore

from ..command import process_of
from ..warm import python

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "mylab"
KINDS = {
    "encoders": "strided",
    "decoders": "top_down",
    "fusion": "maximum",
    "pretext": "denoise",
    "losses": "log_dice",
    "formats": "mylab_flat",
    "metrics": "volume_ratio",
    "modalities": "oct",
    "sources": "mylab_zoo",
    "targets": "arrays",
}
SMALL = ["trainer.steps=2", "patch=[16,16,16]", "trainer.tracking.mode=disabled", "pictures=0"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that pip installed the example into, without the network."""
    folder = tmp_path_factory.mktemp("mylab")
    source = folder / "source"
    source.mkdir()
    for path in EXAMPLE.rglob("*"):
        inside = path.relative_to(EXAMPLE)
        if path.is_file() and path.suffix in (".py", ".toml", ".md"):
            (source / inside).parent.mkdir(parents=True, exist_ok=True)
            (source / inside).write_bytes(path.read_bytes())
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    target = folder / "site"
    done = run(sys.executable, "-m", "pip", *words, "--target", str(target), str(source))
    assert done.returncode == 0, done.stderr
    return target


def run(*words: str, at: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(at) if at else "", **more}
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env=env, timeout=280, cwd=ROOT / "docs"
    )


def hilum(*words: str, at: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run(*process_of(*words), at=at)


def test_each_kind_is_listed_with_where_it_comes_from(place: Path) -> None:
    said = hilum("list", at=place)
    assert said.returncode == 0, said.stderr
    for kind, name in KINDS.items():
        part = said.stdout.split(f"{kind}\n")[1].split("\n\n")[0]
        (line,) = [line for line in part.splitlines() if line.split()[0] == name]
        assert "[mylab 0.1.0, mylab." in line
        assert "warning" not in part
    assert "mylab" not in hilum("list").stdout


def test_its_own_tests_and_every_contract_pass(place: Path) -> None:
    done = run(python(), "-m", "pytest", "-q", "-c", os.devnull, "-p", "no:cacheprovider",
               str(EXAMPLE / "tests"), at=place)  # fmt: skip
    assert done.returncode == 0, done.stdout
    for kind, name in KINDS.items():
        done = hilum("contract", name, at=place)
        assert done.returncode == 0, f"{kind}: {done.stdout} {done.stderr}"
        assert "keeps its contract" in done.stdout


def test_a_strategy_that_mixes_in_what_is_absent_breaks_the_contract(
    place: Path, tmp_path: Path
) -> None:
    text = (place / "mylab" / "fusion.py").read_text()
    # Every modality counts as present, so what is stored in an absent one reaches the maximum.
    wrong = text.replace(
        "present = presence(self, available)",
        "present = presence(self, torch.ones_like(available))",
    )
    assert wrong != text
    (tmp_path / "wrong.py").write_text(wrong)
    done = hilum("contract", "wrong:MaximumFusion", at=tmp_path)
    assert done.returncode == 2
    assert "wrong:MaximumFusion must keep the contract of fusion, found" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("fusion", ["maximum", "mylab.fusion:MaximumFusion"])
def test_fine_tuning_takes_them_by_name_and_by_path(
    fusion: str, place: Path, store: CaseStore, tmp_path: Path
) -> None:
    words = [f"store={store.path}", f"fusion.name={fusion}", "loss.name=log_dice", *SMALL]
    words += ["encoder={name: strided, features: [4, 8]}", "validate_on=patches"]
    done = hilum("finetune", *words, "--out", str(tmp_path / "run"), at=place)
    assert done.returncode == 0, done.stderr[-2000:]
    config = json.loads((tmp_path / "run" / "segmenter" / "config.json").read_text())
    assert config["fusion"]["name"] == fusion
    cases = (tmp_path / "run" / "test" / "metrics.json").read_text()
    assert "volume_ratio" in cases
    gone = hilum("finetune", *words, "--out", str(tmp_path / "other"))
    assert gone.returncode == 2
    assert len(gone.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "other").exists()


PLAN = """
import sys
from pathlib import Path
from hilum.core.settings import validate
from hilum.study.grid.cells import expand
from hilum.study.report.citations import bibtex
from hilum.study.settings import StudySettings
values = {"name": "x", "store": "store", "factors": {"fusion.name": ["maximum", "early"]}}
cells = expand(validate(StudySettings, values), Path("out"), "data")
print(*(cell.key for cell in cells))
assert "torch" not in sys.modules
print("Fusion by Maximum" in bibtex(["maximum"]))
"""


def test_the_key_of_a_cell_follows_the_source_of_its_method(place: Path, tmp_path: Path) -> None:
    before = run(sys.executable, "-c", PLAN, at=place)
    assert before.returncode == 0, before.stderr
    changed = tmp_path / "site"
    run("cp", "-r", str(place), str(changed))
    file = changed / "mylab" / "fusion.py"
    file.write_text(file.read_text() + "\n# another version\n")
    after = run(sys.executable, "-c", PLAN, at=changed)
    (ours, early), (other, same) = (done.stdout.split()[:2] for done in (before, after))
    assert ours != other
    assert early == same
    assert before.stdout.split()[2] == "True"


SPAWN = """
import multiprocessing
from hilum.fusion import STRATEGIES

def look(name):
    return f"{STRATEGIES[name].__module__} {STRATEGIES.origin(name)}"

if __name__ == "__main__":
    STRATEGIES.register("mine", STRATEGIES["mylab.fusion:MaximumFusion"])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(*pool.map(look, ["maximum", "mine"]), sep="\\n")
"""


def test_a_spawned_process_finds_what_is_installed_and_what_was_registered(
    place: Path, tmp_path: Path
) -> None:
    (tmp_path / "spawn.py").write_text(SPAWN)
    done = run(python(), str(tmp_path / "spawn.py"), at=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "mylab.fusion mylab 0.1.0, mylab.fusion:MaximumFusion",
        "mylab.fusion registered, mylab.fusion:MaximumFusion",
    ]
