"""An option that says nothing beside the others is refused, not passed over."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from hilum.cli.app import app
from hilum.core.errors import UserError


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export onnx folder --out o --as rtstruct", "--as says nothing to onnx"),
        ("export onnx folder --out o --segments classes", "--segments says nothing to onnx"),
        ("export nnunet folder --out o --name 1=GTVn", "--name says nothing to nnunet"),
        ("export nnunet folder --out o --series 1.2", "--series says nothing to nnunet"),
        ("export dicom m.nii.gz scan --out o --tolerance 1", "--tolerance says nothing to dicom"),
        ("list fusion --patch 96", "--patch is of the cost of fusion"),
        ("list encoders --cost --patch 96", "--patch is of the cost of fusion"),
        ("study run s.yaml --out o --engine print --workers 2", "--workers is how many cells run"),
        ("predict segmenter --out o --ct c.nii.gz --settle 3", "--settle goes with --watch"),
        ("study cell s.yaml seed=0 --out o --key abc", "by its key or by its levels"),
        ("calibrate run store --out o choose=false", "calibrate chooses an operating point"),
    ],
)
def test_an_option_without_a_use_is_refused(words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CliRunner().invoke(app, words.split(), catch_exceptions=False)
