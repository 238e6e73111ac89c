"""A store that changes under a run is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.changed import changed_since

from ...tiny_cohort import manifest, store  # noqa: F401


def test_a_change_under_a_run_is_told_and_kept(store: CaseStore, tmp_path: Path) -> None:  # noqa: F811
    own = CaseStore(shutil.copytree(store.path, tmp_path / "store"))
    said: list[str] = []
    assert changed_since(own, said.append) == {}
    assert not said
    about = json.loads((own.path / "store.json").read_text())
    (own.path / "store.json").write_text(json.dumps(about | {"fingerprint": "new"}))
    assert changed_since(own, said.append) == {"store_changed_to": "new"}
    assert "changed while the run read it" in said[0]
    (own.path / "store.json").unlink()
    assert changed_since(own, said.append)["store_changed_to"].startswith("unreadable")
