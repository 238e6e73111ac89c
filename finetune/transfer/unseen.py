"""Test patients stay unseen: not in pretraining, and not in the run that one continues from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilum.core.errors import DataError
from hilum.core.files import read_json
from hilum.datasets.store.case_store import CaseStore


def check_unseen(folder: str | Path, store: CaseStore, test: Sequence[str]) -> None:
    """Raise an error if pretraining saw a patient that tests, labels or not.

    Known if the encoder or network folder still lies in its run folder, and both used the same
    store.
    """
    file = Path(folder).parent / "data.json"
    about = read_json(file) if file.is_file() else {}
    if about.get("fingerprint") != store.fingerprint:
        return
    seen = {store.rows[c]["patient"] for part in ("training", "validation") for c in about[part]}
    both = seen & {store.rows[case]["patient"] for case in test}
    if both:
        raise DataError(
            "no test patient may have been seen in pretraining",
            file=folder,
            found=", ".join(sorted(both)[:3]),
            remedy="give both commands the same split.test and split.seed",
        )
