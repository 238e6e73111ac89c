"""Choose the operating point of a trained segmenter: the Python side of `hilum calibrate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json, write_json
from hilum.core.outputs import output
from hilum.core.seen import Seen, read_seen, tested_by, together
from hilum.core.settings import validate
from hilum.core.side_files import read_side
from hilum.core.unused import unused
from hilum.datasets.leakage import seen_cases, seen_in
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.index import complete
from hilum.datasets.store.places import Place
from hilum.encoders.networks import is_network

from ..config import read_segmenter_config
from ..ensemble import segmenter_folders
from ..inference.predict_case import predict_case
from ..inference.settings import InferenceSettings, Precision
from ..operating.apply import operating_at, pet_of
from ..operating.point import ARGMAX, OperatingPoint
from ..predictor import Predictor
from ..segmenter import Segmenter
from .choose import BY_LABELS, Choice, ChoiceSettings, choose, dice_of_case
from .label_free import calibrate_by_expected
from .page import write_choice
from .temperature import nll_of_case

Say = Callable[[str], None]


def calibrate(
    segmenter: str | Path,
    store: Place,
    out: str | Path,
    *,
    cases: Sequence[str] | None = None,
    settings: ChoiceSettings | None = None,
    say: Say = print,
) -> OperatingPoint:
    """Choose the operating point of a segmenter, and write it into its `config.json`.

    The validation patients of its run choose, or the cases that are named. Of a folder of folds
    (`hilum finetune --folds`) every patient chooses, predicted by the fold that did not learn from
    them, and every fold gets the point: test these patients no more with it; the gain that is told
    is that of points chosen without the patient. Whoever chose is added to the patients that the
    segmenter has seen, and may choose again. With `by=expected` no label is read, see
    `calibrate_by_expected`. Writes `operating_point.json` and `.html` to `out`.

    Args:
        segmenter: Segmenter folder, run folder, or folder of folds.
        store: Case store with the labelled cases, or several as one pool by their names.
        out: Folder for table and page.
        cases: Labelled cases that choose.
        settings: Of the choice.
        say: Gets the result.

    Returns:
        The point. Without validation patients the segmenter is left as it is, which is said.

    Raises:
        DataError: If a case that chooses trains or tests the segmenter, or has no label.
        SettingsError: With `choose=false`.
    """
    settings = settings or validate(ChoiceSettings, {})
    if not settings.choose:
        raise SettingsError(
            "calibrate chooses an operating point",
            found="choose=false",
            remedy="leave choose out; for argmax use `hilum predict --raw`",
        )
    for idle in unused(
        settings,
        [
            (settings.by == "expected", BY_LABELS, "by is expected"),
            (settings.by == "labels", ("expected",), "by is labels"),
        ],
    ):
        say(f"note: {idle}")
    with output(out, "calibrate", earlier="operating_point.json", inputs=[segmenter]) as place:
        if settings.by == "expected":
            return calibrate_by_expected(segmenter, store, place, cases, settings, say)
        return _calibrate(segmenter, store, place, cases, settings, say)


def _calibrate(
    segmenter: str | Path,
    store: Place,
    out: Path,
    cases: Sequence[str] | None,
    settings: ChoiceSettings,
    say: Say,
) -> OperatingPoint:
    folders = segmenter_folders(segmenter)
    for folder in filter(is_network, folders):
        raise DataError(
            "no label taught a network of pasted nodes, and none chooses for it",
            file=folder,
            remedy="set by=expected, or fine-tune it first",
        )
    held = CaseStore(store)
    choosing = {folder: _choosing(folder, held, cases, len(folders) > 1) for folder in folders}
    names = [name for own in choosing.values() for name in own]
    if not names:
        config = read_segmenter_config(folders[0])
        words = config.operating_point.words(config.overlapping is not None)
        say(f"no validation patients: the operating point stays, {words}")
        return config.operating_point
    tables, likelihoods, order = list[np.ndarray](), list[np.ndarray](), list[str]()
    for folder, own in choosing.items():
        if own:
            model = Segmenter.from_pretrained(folder)
            model.to("cuda" if torch.cuda.is_available() else "cpu")
            found = tables_of(model, held, own, settings)
            tables, likelihoods = [*tables, *found[0]], [*likelihoods, *found[1]]
            order += own
    patients = [held.rows[name]["patient"] for name in order]
    regions = bool(read_segmenter_config(folders[0]).regions)
    choice = choose(tables, patients, settings, likelihoods, regions)
    write_choice(out, choice, order)
    say(f"table and page in {out}")
    for folder in folders:
        about = read_json(folder / "config.json")
        config = read_segmenter_config(folder)
        seen = together(config.seen, seen_in(held, names))
        chose = config.chose or validate(Seen, {})
        before = seen_cases(config.seen or validate(Seen, {}), held, names)
        new = [name for name in names if name not in before]
        about |= {
            "operating_point": choice.point.model_dump(mode="json"),
            "seen": seen.model_dump(mode="json"),
            "chose": together(chose, seen_in(held, new)).model_dump(mode="json"),
        }
        write_json(folder / "config.json", about)
    for line in lines(choice):
        say(line)
    return choice.point


def choose_for(
    segmenter: Predictor,
    store: CaseStore,
    cases: Sequence[str],
    settings: ChoiceSettings,
    *,
    inference: InferenceSettings | None = None,
    precision: Precision = "auto",
) -> Choice | None:
    """Return the choice of validation cases; nothing if there are none, or it is not asked for.

    A case whose label leaves classes out does not choose.
    """
    cases = [name for name in cases if complete(store, name)]
    if not cases or not settings.choose:
        return None
    tables, likelihoods = tables_of(
        segmenter, store, cases, settings, inference=inference, precision=precision
    )
    patients = [store.rows[name]["patient"] for name in cases]
    return choose(tables, patients, settings, likelihoods, bool(segmenter.config.regions))


def tables_of(
    segmenter: Predictor,
    store: CaseStore,
    cases: Sequence[str],
    settings: ChoiceSettings,
    *,
    inference: InferenceSettings | None = None,
    precision: Precision = "auto",
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return Dice at every candidate and likelihoods at every temperature, case by case.

    One case is held at a time; without `settings.temperature` there are no likelihoods.
    """
    tables, likelihoods = list[np.ndarray](), list[np.ndarray]()
    with operating_at(segmenter, ARGMAX):
        for name in cases:
            case = store[name]
            found = predict_case(segmenter, case, inference, precision=precision)
            label = np.asarray(case.label)
            pet = pet_of(case, segmenter.modalities)
            suv = None if pet is None else pet[0]
            regions = segmenter.config.overlapping
            tables.append(dice_of_case(found, label, case.grid.voxel_ml, settings, suv, regions))
            if settings.temperature:
                likelihoods.append(nll_of_case(found, label, regions))
    return tables, likelihoods


def lines(choice: Choice) -> list[str]:
    """Return what was chosen and how sure it is, for a terminal."""
    record = choice.point.record
    told = [f"operating point: {choice.point.words()} ({record['patients']} patients chose)"]
    if "gain" in record:
        told.append(
            f"  Dice {record['dice_argmax']:.3f} at argmax; gain on patients that did not choose "
            f"{record['gain']:+.3f} [{record['gain_low']:+.3f}, {record['gain_high']:+.3f}]"
        )
    else:
        told.append("  one patient chose: what it gains on others is not known")
    if "nll_gain" in record:
        told.append(
            f"  temperature {record['temperature']:.3g}: negative log-likelihood "
            f"{record['nll_at_1']:.4g} at 1; gain on patients that did not choose "
            f"{record['nll_gain']:+.2g} [{record['nll_gain_low']:+.2g}, "
            f"{record['nll_gain_high']:+.2g}]"
        )
    return told


def _choosing(
    folder: Path, store: CaseStore, asked: Sequence[str] | None, folds: bool
) -> list[str]:
    """Return the cases that choose for one segmenter, checked."""
    file = folder.parent / "split.json"
    split = read_side(file) if file.is_file() else {}
    if folds and asked is None:
        if not split.get("test"):
            raise DataError(
                "every fold must say whom it tests",
                file=file,
                remedy="name cases that neither train nor test with --case",
            )
        return [name for name in split["test"] if store.row(name)["labelled"]]
    names = list(asked if asked is not None else split.get("validation", ()))
    trained = set(split.get("train", ()))
    nobody = validate(Seen, {})
    known = seen_cases(read_seen(folder) or nobody, store, store.ids)
    again = seen_cases(read_segmenter_config(folder).chose or nobody, store, store.ids)
    tested = seen_cases(tested_by(folder) or nobody, store, store.ids)
    for name in names:
        row = store.row(name)
        patient = row["patient"]
        tests = {store.rows[c]["patient"] for c in split.get("test", ()) if c in store.rows}
        learns = {store.rows[c]["patient"] for c in trained if c in store.rows}
        if not row["labelled"] or not complete(store, name):
            raise DataError(
                "a case that chooses must have a label of every class",
                case=name,
                file=store.path,
                remedy="name fully labelled cases with --case",
            )
        spared = row.get("split") == "test" and not split
        if patient in tests or name in tested or spared:
            raise DataError(
                "no patient that tests may choose the operating point",
                case=name,
                file=folder,
                remedy="take validation patients",
            )
        if patient in learns or (not split and name in known and name not in again):
            raise DataError(
                "no patient that trained may choose the operating point",
                case=name,
                file=folder,
                remedy="take validation patients: of its own a segmenter is too sure",
            )
    return names
