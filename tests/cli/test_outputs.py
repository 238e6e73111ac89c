"""Every command that writes a folder leaves alone what is not its own."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from hilum.cli.app import app, main
from hilum.core.checkpoints import EncoderConfig, save_encoder, state_of
from hilum.core.registry import build
from hilum.core.settings import validate
from hilum.datasets.manifest import read_manifest
from hilum.datasets.store.case_store import CaseStore
from hilum.encoders import ENCODERS
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ..tiny_cohort import ENCODER, FUSION, SPACING, manifest, store

__all__ = ["manifest", "store"]

SMALL = (
    "patch=[8,8,8]",
    "trainer.steps=1",
    f"encoder={ENCODER}",
    "trainer.tracking.mode=disabled",
)
COMMANDS: dict[str, str] = {
    "phantom": "phantom OUT patients=1 size=tiny",
    "import": "import folder RAW --out OUT",
    "check": "check MANIFEST --out OUT",
    "prepare": "prepare MANIFEST --out OUT spacing=[4,4,4]",
    "export-nnunet": "export-nnunet MANIFEST --out OUT",
    "predict": "predict SEGMENTER --manifest ONE --out OUT --no-pictures",
    "evaluate": "evaluate MASKS MANIFEST --out OUT",
    "compare": "compare MASKS OTHERS MANIFEST --out OUT",
    "robustness": "robustness SEGMENTER STORE --out OUT cases=[case_4] shifts=[]",
    "calibrate": "calibrate SEGMENTER STORE --out OUT --case case_0",
    "explain": "explain SEGMENTER STORE --out OUT --case case_4",
    "embed": "embed ENCODER STORE --out OUT",
    "annotate propose": "annotate propose SEGMENTER MANIFEST --out OUT",
    "average": "average OUT SEGMENTER TWIN",
    "export": "export state_dict SEGMENTER --out OUT",
    "export dicom": "export dicom MASK RAW --out OUT",
    "import-weights": "import-weights auto WEIGHTS --out OUT --modalities ct,pet --spacing 4,4,4",
    "pretrain": "pretrain --out OUT store=STORE SMALL task.name=simmim task.block=4",
    "finetune": "finetune --out OUT store=STORE SMALL",
    "finetune --folds": "finetune --folds 2 --out OUT store=STORE SMALL",
    "finetune --rounds": "finetune --rounds 1 --out OUT store=STORE SMALL",
    "demo": "demo --out OUT",
    "study plan": "study plan STUDY --out OUT",
    "study run": "study run STUDY --out OUT",
    "study status": "study status STUDY --out OUT",
    "study retry": "study retry STUDY --out OUT",
    "study logs": "study logs STUDY --out OUT",
    "study cancel": "study cancel STUDY --out OUT",
    "study cell": "study cell STUDY --out OUT seed=0",
    "study sweep": "study sweep STUDY --out OUT",
    "study collect": "study collect STUDY --out OUT",
    "study report": "study report STUDY --out OUT",
}
FILES = {
    "plan": "plan STORE --out OUT.yaml",
    "annotate status": "annotate status MANIFEST --out OUT.html",
    "preview": "preview STORE --out OUT.png patch=[8,8,8] samples=1",
}
SERVES = ("view",)
"""Its folder is that of corrections: see tests/annotate/correcting."""
NEW_ONLY = ("annotate plan",)
"""Labellers may work by the file that is there: not even its own is replaced."""
AGAIN = (
    "phantom",
    "import",
    "check",
    "prepare",
    "export-nnunet",
    "predict",
    "evaluate",
    "compare",
    "average",
    "export",
)
"""Those whose second call is cheap; of training, `tests/core/test_runs.py` says the same."""

Run = Callable[[str, Path], int]


@pytest.fixture(scope="module")
def places(
    store: CaseStore, manifest: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Return what the words of the commands stand for."""
    folder = tmp_path_factory.mktemp("places")
    values = {"modalities": ("ct", "pet"), "encoder": ENCODER, "fusion": FUSION["early"]}
    config = validate(SegmenterConfig, values | {"patch": (8, 8, 8), "spacing": SPACING})
    for name in ("segmenter", "twin"):
        Segmenter(config).save(folder / name)
    about = EncoderConfig(
        architecture=ENCODER, modalities=("ct", "pet"), spacing=SPACING, patch=(8, 8, 8)
    )
    save_encoder(folder / "encoder", build(ENCODERS, ENCODER, in_channels=2), about)
    # As nnU-Net writes them: an encoder with one channel under its own names.
    state = state_of(build(ENCODERS, ENCODER, in_channels=1))
    weights = {name.replace("inner.", "encoder."): value for name, value in state.items()}
    torch.save({"network_weights": weights}, folder / "weights.pth")
    cases = [case for case in read_manifest(manifest) if case.label]
    for name in ("masks", "others"):
        (folder / name).mkdir()
        for case in cases:
            shutil.copy(case.label or "", folder / name / f"{case.id}.nii.gz")
    rows = manifest.read_text().splitlines()
    one = manifest.with_name("one.csv")
    one.write_text("\n".join(rows[:2]) + "\n")
    small = dict(word.split("=", 1) for word in SMALL)
    study = {
        "name": "outputs",
        "store": str(store.path),
        "factors": {"seed": [0]},
        "finetune": {"patch": [8, 8, 8], "encoder": yaml.safe_load(small["encoder"])},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(study))
    return {
        "RAW": str(manifest.parent),
        "MANIFEST": str(manifest),
        "ONE": str(one),
        "STORE": str(store.path),
        "MASK": str(folder / "masks" / "case_0.nii.gz"),
        **{name.upper(): str(folder / name) for name in ("segmenter", "twin", "encoder")},
        **{name.upper(): str(folder / name) for name in ("masks", "others")},
        "STUDY": str(folder / "study.yaml"),
        "WEIGHTS": str(folder / "weights.pth"),
    }


@pytest.fixture
def run(places: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(command: str, out: Path) -> int:
        words: list[str] = []
        for word in command.split():
            if word == "SMALL":
                words += SMALL
                continue
            for name, value in sorted({**places, "OUT": str(out)}.items(), reverse=True):
                if name in word.replace("=", " ").replace(".", " ").split():
                    word = word.replace(name, value, 1)
            words.append(word)
        monkeypatch.setattr("sys.argv", ["hilum", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return call


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_table_has_every_command_that_writes() -> None:
    named = {
        word
        for key in (*COMMANDS, *FILES, *NEW_ONLY, *SERVES)
        for word in (key, key.split(" --")[0])
    }
    groups = [(group.name or "", group.typer_instance) for group in app.registered_groups]
    for prefix, one in (("", app), *groups):
        assert one is not None
        for command in one.registered_commands:
            assert command.callback is not None
            if "out" in inspect.signature(command.callback).parameters:
                name = command.name or command.callback.__name__.replace("_", "-")
                assert f"{prefix} {name}".strip() in named


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_not_its_own_is_refused_and_stays(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = tmp_path / "Dataset501_thesis"
    (out / "chapter").mkdir(parents=True)
    (out / "thesis.tex").write_text("three years")
    (out / "chapter" / "model.safetensors").write_bytes(b"weights")
    (out / "config.json").write_text("{}")
    before = contents(tmp_path)
    assert run(COMMANDS[command], out) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1, told
    assert told[0].startswith("error: ")
    assert str(out) in told[0]
    assert "choose another" in told[0], told[0]
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", AGAIN)
def test_its_own_result_is_taken_again_and_that_of_another_command_is_not(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = tmp_path / "Dataset501_ours"
    for _ in range(2):
        assert run(COMMANDS[command], out) in (0, 1), capsys.readouterr().err
    before = contents(out)
    assert before
    other = "explain" if command != "explain" else "evaluate"
    assert run(COMMANDS[other], out) == 2
    assert "an earlier result of hilum" in capsys.readouterr().err
    assert contents(out) == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith((".part", ".old"))]


@pytest.mark.parametrize("command", FILES)
def test_a_file_of_another_origin_is_refused_and_stays(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = tmp_path / "figure"
    named = next(word for word in FILES[command].split() if word.startswith("OUT"))
    file = tmp_path / named.replace("OUT", "figure")
    file.write_bytes(b"mine")
    assert run(FILES[command], out) == 2
    assert "choose another name" in capsys.readouterr().err
    assert file.read_bytes() == b"mine"
    file.unlink()
    for _ in range(2):
        assert run(FILES[command], out) == 0, capsys.readouterr().err


@pytest.mark.parametrize("words", ["average SEGMENTER TWIN", "average OUT TWIN"])
def test_an_average_without_its_output_touches_no_segmenter(
    run: Run, places: Mapping[str, str], tmp_path: Path, words: str
) -> None:
    before = contents(Path(places["SEGMENTER"]))
    assert run(words, tmp_path / "mean") == 2
    assert contents(Path(places["SEGMENTER"])) == before
    assert not (tmp_path / "mean").exists()


def test_labels_of_the_cohort_have_a_node(manifest: Path) -> None:
    """Else the masks above would be empty, and evaluation a matter of nothing."""
    from hilum.datasets.io.nifti import read_label

    assert all(np.any(read_label(c.label).array) for c in read_manifest(manifest) if c.label)
