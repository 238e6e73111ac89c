"""Cross-validate: a segmenter per fold, each tested on patients that it never saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hilum.core.errors import SettingsError
from hilum.core.outputs import check_output, mark
from hilum.core.settings import validate
from hilum.core.side_files import read_side
from hilum.core.undefined import number
from hilum.datasets.splits import SplitSettings, make_split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.assessment.prepared_cases import Numbers, Results, dice_of, write_results

from .learned_from import learned_from
from .run import finetune
from .settings import FinetuneSettings

Say = Callable[[str], None]


def cross_validate(
    settings: FinetuneSettings, out: str | Path, folds: int, *, say: Say = print
) -> Path:
    """Train and test a segmenter for each fold, and pool the test results of all patients.

    Writes a run folder `fold_<k>` each, and in `test` the tables of `assessment.assess` over all
    folds: every labelled patient once, predicted by the segmenter that did not train on them. The
    folder as a whole is an ensemble: `hilum predict OUT` averages the folds. A call that was
    stopped goes on; folds that are done are left alone.

    Args:
        settings: Of every fold; `split.test`, `folds` and `fold` are set here.
        out: Folder of the folds.
        folds: How many.
        say: Gets a line now and then.

    Returns:
        `out`, which `hilum predict` reads as an ensemble.

    Raises:
        SettingsError: If the settings say how to test in another way.
    """
    out = Path(out)
    check_output(out, "finetune --folds", earlier=lambda folder: (folder / "fold_0").is_dir())
    runs = [of_fold(settings, folds, fold) for fold in range(folds)]
    store = CaseStore(settings.store)
    for run in runs:
        # Every fold is possible before the first begins.
        learned_from(run, store, make_split(store, run.split))
    mark(out, "finetune --folds")
    for fold, run in enumerate(runs):
        say(f"fold {fold + 1} of {folds}")
        finetune(run, out / f"fold_{fold}", say=say)
    results, patients = pooled(out, folds)
    if not results:
        return out
    write_results(out / "test", results, patients)
    for condition, cases in results.items():
        if cases:
            dice = number(dice_of(results, condition), ".4f")
            say(f"test Dice with {condition}: {dice} over {len(cases)} cases of all folds")
    return out


def pooled(out: Path, folds: int) -> tuple[Results, dict[str, str]]:
    """Return the metrics of every test case under each condition, and the patient of each."""
    results: Results = {}
    patients: dict[str, str] = {}
    for fold in range(folds):
        file = out / f"fold_{fold}" / "test" / "metrics.json"
        found = read_side(file) if file.is_file() else {}
        for condition, cases in found.items():
            own: dict[str, Numbers] = results.setdefault(condition, {})
            for name, row in cases.items():
                own[name], patients[name] = row["metrics"], row["patient"]
    return results, patients


def of_fold(settings: FinetuneSettings, folds: int, fold: int) -> FinetuneSettings:
    """Return the settings of one of the folds, counted from 0.

    Raises:
        SettingsError: If the settings say how to test in another way.
    """
    if settings.split.test not in ("manifest", "fold"):
        raise SettingsError(
            "folds decide which patients test",
            found=f"split.test={settings.split.test}",
            remedy="leave split.test out, or train one segmenter without --folds",
        )
    usual, asked = validate(SplitSettings, {}), settings.split
    for name, value, wanted in (("folds", asked.folds, folds), ("fold", asked.fold, usual.fold)):
        if value not in (getattr(usual, name), wanted):
            raise SettingsError(
                f"--folds sets split.{name} for each fold",
                found=f"split.{name}={value}",
                remedy=f"leave out split.{name}, or train one segmenter without --folds",
            )
    split = settings.split.model_dump() | {"test": "fold", "folds": folds, "fold": fold}
    return settings.model_copy(update={"split": validate(SplitSettings, split)})
