"""Choose the operating point of a segmenter on unlabelled cases: `hilum calibrate by=expected`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from hilum.core.errors import DataError, SettingsError
from hilum.core.files import read_json, write_json
from hilum.core.modality import modality
from hilum.core.seeds import numpy_generator
from hilum.core.seen import Seen, read_seen, tested_by, together
from hilum.core.settings import validate
from hilum.core.side_files import read_side
from hilum.datasets.leakage import seen_cases, seen_in
from hilum.datasets.store.case_store import CaseStore
from hilum.datasets.store.places import Place
from hilum.encoders.networks import is_network

from ..ensemble import load_predictor, segmenter_folders
from ..inference.predict_case import predict_case
from ..inference.settings import InferenceSettings, Precision
from ..operating.apply import operating_at, pet_of
from ..operating.point import ARGMAX, OperatingPoint
from ..predictor import Predictor
from .choose import ChoiceSettings
from .expected import ExpectedChoice, choose_expected, statistics_of_case
from .page import write_expected

Say = Callable[[str], None]


def calibrate_by_expected(
    segmenter: str | Path,
    store: Place,
    out: Path,
    cases: Sequence[str] | None,
    settings: ChoiceSettings,
    say: Say,
) -> OperatingPoint:
    """Set the operating point from what is expected of a patient, and write it into `config.json`.

    No label is read. Those choose that a network folder was pretrained on; of a run the pool
    without its training and validation patients; of any other segmenter the cases that it neither
    learned from nor was tested on; or the cases that are named. They count as seen afterwards.

    Args:
        segmenter: Network folder of a pretraining, segmenter folder, or a run folder of either.
        store: Case store of the unlabelled cases.
        out: Folder for table and page.
        cases: Cases that choose.
        settings: Of the choice.
        say: Gets the result.

    Raises:
        DataError: If a case that chooses tests the segmenter or taught it by its label, if no case
            is left, or if there are several segmenters.
    """
    folders = segmenter_folders(segmenter)
    if len(folders) > 1:
        raise DataError(
            "expected statistics set the point of one segmenter",
            file=segmenter,
            found=f"{len(folders)} segmenters",
            remedy="calibrate each with cases that it does not test, by --case",
        )
    folder, held = folders[0], CaseStore(store)
    model = load_predictor(folder)
    names = _choosing(folder, held, cases)
    if cases is None:
        sees = set(model.modalities)
        names = [name for name in names if sees & set(held.rows[name]["modalities"])]
    if not names:
        raise DataError(
            "the store must have unlabelled cases that do not test",
            file=held.path,
            remedy="name cases that may choose with --case",
        )
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    choice, chose = expected_for(model, held, names, settings)
    write_expected(out, choice, chose)
    say(f"table and page in {out}")
    about = read_json(folder / "config.json")
    about["operating_point"] = choice.point.model_dump(mode="json")
    owner = about["encoder"] if is_network(folder) else about
    seen = together(read_seen(folder), seen_in(held, chose))
    owner["seen"] = seen.model_dump(mode="json")
    write_json(folder / "config.json", about)
    for line in expected_lines(choice):
        say(line)
    return choice.point


def expected_for(
    segmenter: Predictor,
    store: CaseStore,
    cases: Sequence[str],
    settings: ChoiceSettings,
    *,
    inference: InferenceSettings | None = None,
    precision: Precision = "auto",
) -> tuple[ExpectedChoice, list[str]]:
    """Return the choice of unlabelled cases, and which of them were predicted for it.

    Args:
        segmenter: Any.
        store: Where the cases are; labels are not read.
        cases: That may choose, at least one; with more patients than `expected.patients` a fixed
            draw of them does.
        settings: Of the choice.
        inference: Sliding window; the segmenter's own if not given.
        precision: Of the network.

    Raises:
        SettingsError: If a minimum uptake is asked of a segmenter that sees none.
    """
    expected = settings.expected
    if expected.suv_max is not None and not any(
        modality(name).unit == "SUV" for name in segmenter.modalities
    ):
        raise SettingsError(
            "expected.suv_max needs a segmenter that sees uptake",
            found=", ".join(segmenter.modalities),
            remedy="leave it out",
        )
    patients = sorted({store.row(name)["patient"] for name in cases})
    order = numpy_generator(0, "expected statistics").permutation(len(patients))
    drawn = {patients[i] for i in order[: expected.patients]}
    names = [name for name in cases if store.row(name)["patient"] in drawn]
    tables = []
    with operating_at(segmenter, ARGMAX):
        for name in names:
            case = store[name]
            found = predict_case(segmenter, case, inference, precision=precision)
            overlapping = bool(segmenter.config.regions)
            pet = pet_of(case, segmenter.modalities)
            suv = None if pet is None else pet[0]
            one = statistics_of_case(found, case.grid.voxel_ml, expected, overlapping, suv)
            tables.append(one)
    choice = choose_expected(
        tables,
        [store.row(name)["patient"] for name in names],
        segmenter.classes,
        expected,
        settings.prior_patients,
    )
    return choice, names


def expected_lines(choice: ExpectedChoice) -> list[str]:
    """Return what was chosen, and how near it is to what is expected, for a terminal."""
    record = choice.point.record
    told = [
        f"operating point: {choice.point.words()} (expected statistics of {record['patients']} "
        "unlabelled patients, no label)"
    ]
    if "kept" in record:
        told.append(f"  {record['kept']}")
    for name, words in (("number", "nodes"), ("total_ml", "ml of nodes")):
        expected = record[f"{name}_expected"]
        wanted = "" if expected is None else f", {expected:.3g} expected"
        if name not in record:
            continue
        told.append(
            f"  {record[name]:.3g} {words} a patient{wanted} "
            f"({record[f'{name}_at_half']:.3g} at a threshold of 0.5)"
        )
    return told


def _choosing(folder: Path, store: CaseStore, asked: Sequence[str] | None) -> list[str]:
    """Return the cases that choose, checked if they were named."""
    file = folder.parent / "split.json"
    split = read_side(file) if file.is_file() else {}
    nobody = validate(Seen, {})
    tests = {
        *split.get("test", ()),
        *seen_cases(tested_by(folder) or nobody, store, store.ids),
        *(name for name in store.ids if store.rows[name].get("split") == "test" and not split),
    }
    learned = {*split.get("train", ()), *split.get("validation", ())}
    seen = set(seen_cases(read_seen(folder) or nobody, store, store.ids))
    network = is_network(folder)
    if not split and not network:
        learned |= seen
    out, taught = (
        {store.rows[c]["patient"] for c in part if c in store.rows} for part in (tests, learned)
    )
    if asked is None:
        start = split.get("pool") or (seen if network and seen else store.ids)
        names = [name for name in store.ids if name in set(start)]
        return [n for n in names if store.rows[n]["patient"] not in out | taught]
    for name in asked:
        for patients, what in ((out, "tests"), (taught, "trained or validated")):
            if store.row(name)["patient"] in patients:
                raise DataError(
                    f"no patient that {what} may choose the operating point",
                    case=name,
                    file=folder,
                    remedy="take unlabelled patients of the pool",
                )
    return list(asked)
