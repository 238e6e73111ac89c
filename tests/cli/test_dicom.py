"""The command line writes a mask as DICOM, and refuses in one line."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hilum.cli.app import app
from hilum.core.errors import UserError
from hilum.datasets.io.nifti import write_volume

from ..loading import loaded


@pytest.fixture(scope="module")
def ct() -> ModuleType:
    """The small CT series of the tests of DICOM out."""
    pytest.importorskip("highdicom")
    file = Path(__file__).parents[1] / "exchange" / "dicom_out" / "dicom_ct.py"
    return loaded(file)


@pytest.fixture
def mask(ct: ModuleType, tmp_path: Path) -> Path:
    ct.write_ct(tmp_path / "ct")
    return write_volume(tmp_path / "case.nii.gz", ct.blobs(), ct.grid_of(tmp_path / "ct"))


def run(*words: object) -> Result:
    words = ("export", "dicom", *words)
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.mark.parametrize("form", ["seg", "rtstruct"])
def test_a_mask_becomes_a_file_named_after_it(
    ct: ModuleType, mask: Path, tmp_path: Path, form: str
) -> None:
    from hilum.datasets.dicom.labels import label_names

    out = tmp_path / "out"
    done = run(mask, tmp_path / "ct", "--out", out, "--as", form)
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == {".hilum.json", f"case_{form}.dcm"}
    assert label_names(out / f"case_{form}.dcm") == [f"Lymph node {n}" for n in (1, 2, 3)]
    words = ("--out", out, "--as", form, "--segments", "classes", "--name", "1=GTVn")
    run(mask, tmp_path / "ct", *words)
    assert label_names(out / f"case_{form}.dcm") == ["GTVn"]


def test_what_does_not_fit_is_one_clear_error(ct: ModuleType, mask: Path, tmp_path: Path) -> None:
    scan, out = tmp_path / "ct", ("--out", tmp_path / "out")
    with pytest.raises(UserError, match="folder of the CT series after the mask"):
        run(mask, *out)
    with pytest.raises(UserError, match="class=name"):
        run(mask, scan, *out, "--name", "GTVn")
    other = write_volume(
        tmp_path / "b.nii",
        np.ones((3, 4, 5), np.uint8),
        ct.grid_of(scan)
        .crop((0, 0, 0), (3, 4, 5))
        .with_spacing((2.0, 2.0, 2.0))
        .crop((0, 0, 0), (3, 4, 5)),
    )
    with pytest.raises(UserError, match="must lie on the grid of series 1"):
        run(other, scan, *out)
    ct.write_ct(scan / "b", uid="1.2.3.5", description="again")
    with pytest.raises(UserError, match=r"2 CT series.*1\.2\.3\.1.*'again' \(1\.2\.3\.5\)"):
        run(mask, scan, *out)
    assert run(mask, scan, *out, "--series", "1.2.3.5").exit_code == 0


def test_a_folder_without_ct_names_what_is_there(mask: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="must hold a CT series, found no DICOM series"):
        run(mask, tmp_path / "none", "--out", tmp_path / "out")
    with pytest.raises(UserError, match="no such folder"):
        run(mask, tmp_path / "nowhere", "--out", tmp_path / "out")


def test_other_targets_take_no_scan(mask: Path, tmp_path: Path) -> None:
    words = ["export", "onnx", str(tmp_path), str(tmp_path / "ct"), "--out", str(tmp_path / "o")]
    with pytest.raises(UserError, match="onnx is made from one folder"):
        CliRunner().invoke(app, words, catch_exceptions=False)
