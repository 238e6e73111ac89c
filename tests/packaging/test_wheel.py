"""What pip installs has every file of the package, and works where there is no checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
MAKE_A_PAGE = (
    "import hilum; from hilum.evaluation.html.rendering import render; print(hilum.__file__); "
    "print(render('evaluation/viewer/viewer.html.j2', title='a title'))"
)
LINKS = {
    room: f"hilum/{room}" for room in ("datasets", "finetune", "fusion", "pretrain", "recipes")
}


def tracked() -> list[str]:
    """Return the files that git knows, or will know: links excluded."""
    asked = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file() and not (ROOT / name).is_symlink()]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel from a copy of the checkout, so that nothing is left in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in tracked():
        if name.split("/")[0] not in ("tests", "docs", "benchmarks"):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    for room, link in LINKS.items():
        (source / link).symlink_to(f"../{room}")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_a_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    installed = set(zipfile.ZipFile(wheel).namelist())
    wanted = set()
    for name in tracked():
        room = name.split("/")[0]
        if room in LINKS:
            wanted.add(f"hilum/{name}")
        elif room == "hilum":
            wanted.add(name)
    assert any(name.endswith(".j2") for name in wanted)
    assert wanted - installed == set()


@pytest.mark.slow
def test_pages_are_made_from_an_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    asked = [sys.executable, "-P", "-c", MAKE_A_PAGE]
    found = subprocess.run(
        asked,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(str(tmp_path))
    assert "<title>a title</title>" in found.stdout
    assert "function visit(step)" in found.stdout


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command `hilum` of a bare environment with the wheel, all else from this one.

    Folders on a path file bring packages, but not the editable hook that would find the checkout.
    """
    pytest.importorskip("pip")
    root = tmp_path_factory.mktemp("bare")
    venv.create(root, with_pip=False)
    packages = next(root.glob("lib/python*/site-packages"))
    own = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    python = root / "bin" / "python"
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    (packages / "shared.pth").write_text("".join(f"{path}\n" for path in own))
    # Another distribution of hilum on the path would count as installed already.
    done = subprocess.run(
        [*pip, "--ignore-installed", wheel], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    where = [python, "-P", "-c", "import hilum; print(hilum.__file__)"]
    found = subprocess.run(where, cwd=root, check=True, capture_output=True, text=True).stdout
    assert found.startswith(str(packages)), "not the checkout"
    return root / "bin" / "hilum"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--help"], "finetune"),
        (["recipes"], "finetune/few_label"),
        (["recipes", "finetune/few_label"], "encoder: {name: resenc"),
        (["list"], "cross_attention"),
        (["--version"], "hilum "),
    ],
)
def test_commands_work_outside_of_a_checkout(
    installed: Path, tmp_path: Path, words: list[str], wanted: str
) -> None:
    found = subprocess.run([installed, *words], cwd=tmp_path, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert wanted in found.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_demo_begins_outside_of_a_checkout(installed: Path, tmp_path: Path) -> None:
    """Until the first patients are written: the rest is tested where it is written."""
    process = subprocess.Popen(
        [installed, "demo", "--out", "demo"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until = time.monotonic() + 120
        while not list(tmp_path.rglob("*.nii.gz")) and process.poll() is None:
            assert time.monotonic() < until, "nothing was written"
            time.sleep(0.2)
        assert process.poll() is None, process.stdout and process.stdout.read()
    finally:
        process.terminate()
        process.communicate(timeout=60)
