"""The command line answers at once, names mistakes in one line, and uses the right exit codes."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.core.errors import SettingsError

from ..command import hilum

ROOT = Path(__file__).parents[2]
HILUM = Path(sys.executable).with_name("hilum")


def test_help_loads_neither_torch_nor_pydantic() -> None:
    code = (
        "import sys\nsys.argv = ['hilum', '--help']\nfrom hilum.cli.app import main\n"
        "try:\n  main()\nexcept SystemExit: pass\n"
        "print('HEAVY', [m for m in ('torch', 'monai', 'numpy', 'wandb') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert "HEAVY []" in ran.stdout
    assert "finetune" in ran.stdout


def test_the_script_works_from_the_repository_root() -> None:
    ran = subprocess.run([HILUM, "list", "fusion"], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "cross_attention" in ran.stdout


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["list", "fusio"], 2, "error: unknown name 'fusio', did you mean 'fusion'?"),
        (
            ["import", "foldr", ".", "--out", "x"],
            2,
            "unknown format 'foldr', did you mean 'folder'",
        ),
        (["import", "folder", "none", "--out", "x"], 2, "none: no such folder"),
        (["prepare", "none.csv", "--out", "x"], 2, "none.csv: the manifest must be a file"),
        (
            ["prepare", "m.csv", "--out", "x", "spacin=1"],
            2,
            "spacin: unknown setting, did you mean",
        ),
        (["inspect", "."], 2, "the folder must be a case store, a run, an encoder, a network"),
        (["finetune", "--out", "x", "-c", "no.yaml"], 2, "no.yaml: no such settings file"),
        (
            ["finetune", "--out", "x", "--folds", "2", "--rounds", "1", "store=none"],
            2,
            "error: --folds and --rounds cannot go together; choose one",
        ),
        (["predict", "s", "--out", "x"], 2, "give either --manifest or the volumes of one case"),
        (["study", "plan", "no.yaml", "--out", "x"], 2, "no.yaml: no such settings file"),
        (["nonsense"], 2, "error: No such command 'nonsense'; see `hilum --help`"),
        (["prepare", "m.csv"], 2, "error: Missing option '--out'; see `hilum prepare --help`"),
        (["prepare", "m.csv", "--workers", "x"], 2, "error: Invalid value for '--workers'"),
        (["study", "ruin"], 2, "error: No such command 'ruin'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    ran = hilum(*words, cwd=tmp_path)
    assert ran.returncode == code
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir()), "nothing may be left behind"


@pytest.mark.parametrize("command", ["phantom", "prepare", "pretrain", "finetune", "study"])
def test_every_setting_has_a_description(command: str) -> None:
    from hilum.cli.inventory import settings_of

    for line in settings_of(command):
        assert len(line.split("  ", 1)[1].strip().split(" [")[0]) > 3, line


def test_a_setting_inside_a_group_shows_the_default_of_the_group() -> None:
    from hilum.cli.inventory import settings_of

    lines = settings_of("finetune")
    assert any(line.startswith("augmentation.scale.high ") and "[1.25]" in line for line in lines)
    assert [line.split()[0] for line in lines if line.endswith("[required]")] == ["store"]


@pytest.mark.parametrize("kind", ["encoders", "decoders", "fusion", "pretext", "losses"])
def test_every_parameter_of_every_method_is_told(kind: str) -> None:
    from hilum.cli.inventory import TABLES
    from hilum.cli.parameters import parameters

    module, attribute = TABLES[kind]
    table = getattr(importlib.import_module(module), attribute)
    for name in table.ours:
        for parameter, meaning, _ in parameters(table[name], kind):
            assert len(meaning) > 3, f"{kind} {name}: {parameter} is not in the docstring"


def test_the_parameters_of_methods_are_listed_with_their_defaults() -> None:
    from hilum.cli.inventory import settings_of

    lines = settings_of("finetune", methods=["loss=tversky", "fusion=cross_attention"])
    assert [line.split()[0] for line in lines[:4]] == [
        "loss.name", "loss.alpha", "loss.beta", "loss.tversky"
    ]  # fmt: skip
    assert lines[1].split(maxsplit=1)[1] == "Weight of false positives. [0.3]"
    assert any(line.startswith("fusion.window ") and line.endswith("[8]") for line in lines)
    with pytest.raises(
        SettingsError, match=r"SETTING=NAME, found seed=1; methods of finetune: enc"
    ):
        settings_of("finetune", methods=["seed=1"])
    with pytest.raises(SettingsError, match=r"'tverskyy', did you mean 'tversky'"):
        settings_of("finetune", methods=["loss=tverskyy"])


def test_the_version_is_the_package_s() -> None:
    from importlib.metadata import version

    assert hilum("--version").stdout == f"hilum {version('hilum')}\n"


def test_the_doctor_names_versions_and_precision() -> None:
    ran = hilum("doctor")
    assert ran.returncode == 0, ran.stdout
    assert "pytorch-lightning" in ran.stdout
    assert "precision" in ran.stdout
    assert re.search(r"^memory +\d+ GiB$", ran.stdout, re.M)
    assert re.search(r"^pydicom +[\dn]", ran.stdout, re.M)


@pytest.mark.parametrize(("command", "same"), [("compare", "evaluate"), ("bench", "finetune")])
def test_commands_with_the_settings_of_another_list_them(command: str, same: str) -> None:
    from hilum.cli.inventory import settings_of

    assert settings_of(command) == settings_of(same)
