"""Training commands on the pages run up to their first step, on phantoms.

`tests/docs/test_site.py` parses every command, and `test_tutorials.py` runs those of pages that are
notebooks. Here the others go through all that a run does before it trains: data, splits, weights
and networks are real, of a tiny cohort and a pretraining of two steps.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app

from .test_site import COMMANDS

NOTEBOOKS = {"get-started.md", *(f"{n}.md" for n in ("first_study", "own_folder", "own_method"))}
NOTEBOOKS |= {"encoder_elsewhere.md", "labelling_loop.md"}
PLACES = {
    "STORE": "store",
    "work/store": "store",
    "work/third_store": "store",
    "work/fifth_store": "store",
    "work/sixth_store": "store",
    "work/seventh_store": "store",
    "learn/store": "store",
    "LUNG": "store",
    "NECK": "other",
    "ENCODER": "run/encoder",
    "pre/encoder": "run/encoder",
    "pre/network": "run/network",
    "network": "run/network",
    "few_label": "few_label",
}
"""Words of pages for places, and what is there in the test."""
SMALL = ["patch=[16,16,16]", "trainer.tracking.mode=disabled"]
ELSEWHERE = {
    "recipes/pretrain/one_gpu.yaml": "a network whose patches are larger than these phantoms",
    "init_from=swin": "weights that must be imported first",
    "split.choose=labelling.csv": "a plan of labels; tutorials/labelling_loop.md runs it",
    "regions={whole: [1, 2], core: [2]}": "labels of two classes; tests/finetune has them",
}
"""Words that ask for what is not in this cohort."""
RUNS = [
    (page, words)
    for page, words in COMMANDS
    if words[1] in ("finetune", "pretrain") and page not in NOTEBOOKS
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stores of eight and two patients, a pretraining that can find nodes, and a plan."""
    folder = tmp_path_factory.mktemp("pages")
    for name, patients, scanner in (("store", 8, "a"), ("other", 2, "b")):
        made = [f"patients={patients}", f"scanner={scanner}", "size=tiny", "negative_share=0"]
        called(folder, ["phantom", f"made_{name}", *made])
        manifest = f"made_{name}/manifest.csv"
        called(folder, ["prepare", manifest, "--out", name, "spacing=[4,4,4]"])
    task = ["task.name=synthetic_nodes", "trainer.steps=2", "trainer.batch_size=1"]
    called(folder, ["pretrain", "--out", "run", "store=store", *task, *SMALL])
    called(folder, ["plan", "store", "--out", "plan.yaml", "patch=[16,16,16]"])
    return folder


def called(folder: Path, words: list[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{' '.join(words)}: {done.output[-500:]} {done.exception}"
    return done.output


def translated(words: list[str]) -> list[str]:
    """Return a command with the places of the test and small patches, that does not train."""
    found = []
    for word in words:
        key, equals, value = word.partition("=")
        if equals and value in PLACES:
            found.append(f"{key}={PLACES[value]}")
        elif key != "patch":
            found.append(PLACES.get(word, word))
    return [*(word for word in found if word != "--dry-run"), *SMALL, "--dry-run"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "words"), RUNS, ids=[f"{page}-{number}" for number, (page, _) in enumerate(RUNS)]
)
def test_a_run_on_a_page_is_ready_to_train(page: str, words: list[str], place: Path) -> None:
    if reasons := [ELSEWHERE[word] for word in words if word in ELSEWHERE]:
        pytest.skip(reasons[0])
    before = sorted(place.iterdir())
    assert called(place, translated(words[1:]))
    assert sorted(place.iterdir()) == before
