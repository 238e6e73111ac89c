"""Any layout ends as a manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import DataError, SettingsError
from hilum.datasets.importing import FORMATS, import_cohort
from hilum.datasets.manifest import read_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        (tmp_path / "raw" / name).mkdir(parents=True)
        (tmp_path / "raw" / name / "ct.nii.gz").touch()
    return tmp_path / "raw"


@pytest.mark.parametrize("out", ["out", "out/other.csv"])
def test_a_layout_becomes_a_manifest(root: Path, out: str) -> None:
    path = import_cohort("folder", root, root.parent / out)
    assert path.name == ("other.csv" if out.endswith("csv") else "manifest.csv")
    assert read_manifest(path) == FORMATS["folder"](root, None)


def test_names_are_mapped_on_the_way(root: Path) -> None:
    (root / "a" / "suv.nii.gz").touch()
    path = import_cohort("folder", root, root, {"suv": "pet"})
    assert read_manifest(path)[0].volumes["pet"] == root / "a" / "suv.nii.gz"


def test_a_misspelt_format_gets_a_suggestion(root: Path) -> None:
    with pytest.raises(SettingsError, match=r"did you mean 'folder'\?; choose from folder"):
        import_cohort("folders", root, root)


def test_a_name_can_only_be_mapped_to_a_modality_or_the_label(root: Path) -> None:
    with pytest.raises(SettingsError, match="unknown modality 'pett'"):
        import_cohort("folder", root, root, {"suv": "pett"})


def test_nothing_is_written_when_the_layout_is_bad(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="a folder per case"):
        import_cohort("folder", tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()
