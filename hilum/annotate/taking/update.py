"""Bring a manifest and its store up to date with new labels, for these cases alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from hilum.core.case import Case
from hilum.core.errors import StoreError, UserError
from hilum.core.files import read_json
from hilum.core.settings import validate
from hilum.datasets.manifest import write_manifest
from hilum.datasets.prepare.case import PrepareSettings
from hilum.datasets.prepare.run import ASKED, prepare
from hilum.datasets.store.case_store import CaseStore


def check_store(store: str | Path, cases: Mapping[str, Case]) -> None:
    """Raise an error unless a store holds the cases of the manifest.

    Raises:
        StoreError: If it holds others: preparing it again would add or drop cases.
    """
    held = CaseStore(store)
    known = {*held.ids, *held.about.get("left_out", {})}
    if known != set(cases):
        other = sorted(known ^ set(cases))
        raise StoreError(
            "the store must hold the cases of the manifest",
            file=held.path,
            found=f"{', '.join(other[:5])} in one of them alone",
            remedy="give the manifest that it was prepared from, or leave --store out and prepare "
            "it yourself",
        )
    if not (held.path / "prepare.json").is_file():
        raise StoreError(
            "a store must say how it was prepared",
            file=held.path / "prepare.json",
            remedy="prepare the manifest again into a new store",
        )


def update(
    manifest: Path,
    cases: Mapping[str, Case],
    labelled: Mapping[str, Case],
    store: str | Path | None,
    workers: int,
    say: Callable[[str], None],
) -> None:
    """Name the new labels in the manifest, and prepare the store again.

    The manifest of before is kept as `<name>.before-<n>.csv`. Cases whose files did not change are
    not read again. If a case cannot be prepared with its new label, the manifest is put back.

    Args:
        manifest: To be changed.
        cases: All of it, as they were.
        labelled: Those with a new label.
        store: Made from it, if there is one.
        workers: Processes that prepare.
        say: Gets what was done.

    Raises:
        UserError: If a case cannot be prepared; manifest and store are as before then.
    """
    kept = _kept(manifest)
    shutil.copyfile(manifest, kept)
    write_manifest(manifest, [labelled.get(name, case) for name, case in cases.items()])
    say(f"{manifest} names {len(labelled)} new labels; before: {kept.name}")
    if store is None:
        say(f"prepare the store again: hilum prepare {manifest} --out STORE")
        return
    recipe = read_json(Path(store) / "prepare.json")
    recipe.pop("version", None)
    settings = validate(PrepareSettings, recipe)
    left_out = CaseStore(store).about.get("left_out", {})
    asked = [name for name, why in left_out.items() if why == ASKED]
    again = partial(
        prepare, manifest, store, settings, workers, skip_bad=bool(left_out), leave_out=asked
    )
    try:
        again()
    except UserError:
        shutil.copyfile(kept, manifest)
        again()
        raise
    say(f"{store} is up to date: {', '.join(labelled)} prepared anew")


def _kept(manifest: Path) -> Path:
    number = 1
    while (file := manifest.with_name(f"{manifest.stem}.before-{number}.csv")).exists():
        number += 1
    return file
