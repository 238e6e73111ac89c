"""Cases of one store in another, without a copy of their scans."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from hilum.core.files import atomic_folder
from hilum.datasets.store.case_store import StoredCase


def link_case(case: StoredCase, folder: Path) -> None:
    """Link every file of a case into a folder, unless the case is there already."""
    if (folder / "case.json").is_file():
        return
    with atomic_folder(folder) as part:
        for file in sorted(case.folder.iterdir()):
            link(file, part / file.name)


def link(file: Path, to: Path) -> None:
    """Link a file, or copy it where the disk has no links or is another one."""
    try:
        os.link(file, to)
    except OSError:
        shutil.copyfile(file, to)
