"""What was given to a run and does nothing there, given its other settings and its patients."""

from __future__ import annotations

from collections.abc import Sequence

from hilum.core.modality import modality
from hilum.core.unused import Idle, Rule, unused
from hilum.datasets.splits import Split
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.calibration import choose
from hilum.training.settings import TrainerSettings

from .settings import FinetuneSettings

KEPT = ("tracking", "precision")
"""Settings of the trainer that also hold where nothing is trained."""
TRAINING = (
    *("seed", "patch", "foreground", "hard", "copies", "deep_supervision", "prior", "loss"),
    *("soft", "augmentation", "synthetic", "missing", "teacher", "pseudo", "organs"),
    *("validate_on", "pictures", "licence"),
    *(f"trainer.{key}" for key in TrainerSettings.model_fields if key not in KEPT),
)
"""Settings of learning."""
NETWORK = (
    *("encoder", "decoder", "scale", "fusion", "names", "prior_rule"),
    *("regions", "regions_class_order"),
)
"""Settings of what is built."""
BY_LABELS = tuple(f"operating_point.{key}" for key in choose.BY_LABELS)
DRAWN = ("split.draw", "split.balance_sites")
POINT = (*BY_LABELS, "operating_point.prior_patients", "operating_point.expected")
COUNTS = ("suv_scale", "resolution", "count_noise", "grain_mm")
WINDOW = ("blur", "noise", "brightness", "contrast", "gamma", "inverted")


def unused_of(
    settings: FinetuneSettings, store: CaseStore, split: Split, modalities: Sequence[str]
) -> list[Idle]:
    """Return what does nothing in a run, whether it trains, tests a network as it is, or a rule.

    Args:
        settings: All of the run.
        store: Holds the cases.
        split: Who trains, validates and tests.
        modalities: That the network sees.
    """
    of_patients = _of_patients(settings, store, split)
    if settings.baseline is not None:
        return unused(settings, [*_of_a_rule(settings), *of_patients])
    if settings.split.labels == 0:
        return unused(settings, [*_untrained(settings), *of_patients, *_of_groups(settings)])
    rules = [*of_patients, *_of_groups(settings), *_of_modalities(modalities)]
    return [*unused(settings, rules), *_named(settings, modalities)]


def _of_a_rule(settings: FinetuneSettings) -> list[Rule]:
    """Return what needs a network, where a baseline segments."""
    point = settings.operating_point
    own = point.by == "labels" or not point.choose
    nothing = (*TRAINING, *NETWORK, "transfer", "inference", "trainer.precision")
    return [
        (True, nothing, "a baseline is no network"),
        (own, ("operating_point",), "labels choose for a baseline by baseline.limit=auto"),
        (True, (*BY_LABELS, "operating_point.prior_patients"), "operating_point.by is expected"),
        (True, ("robustness",), "a baseline has no matrix"),
    ]


def _untrained(settings: FinetuneSettings) -> list[Rule]:
    """Return what needs training, where the network of `init_from` is tested as it is."""
    needed = ("other_cohort", "spend_test")
    fields = type(settings.transfer).model_fields
    taken = [f"transfer.{key}" for key in fields if key not in needed]
    by_labels = settings.operating_point.by == "labels"
    return [
        (True, (*TRAINING, *NETWORK, *taken), "split.labels is 0, the network stays as it is"),
        (True, DRAWN, "split.labels is 0"),
        (by_labels, ("operating_point",), "nobody validates, the network keeps its own"),
    ]


def _of_patients(settings: FinetuneSettings, store: CaseStore, split: Split) -> list[Rule]:
    """Return what needs patients who validate or test, or a choice among them."""
    asked, patient = settings.split, {name: row["patient"] for name, row in store.rows.items()}
    labelled = {patient[name] for name in split.pool if store.rows[name]["labelled"]}
    validating = {patient[name] for name in split.validation}
    everyone = {patient[name] for name in split.train} == labelled - validating
    by_labels = settings.operating_point.by == "labels"
    watched = ("trainer.patience", "trainer.validate_every", "validate_on", "pictures")
    chosen = (*POINT, "operating_point.choose") if by_labels else ()
    tested = ("conditions", "robustness")
    return [
        (asked.choose is not None, DRAWN, "split.choose names who trains"),
        (everyone, DRAWN, "all labelled patients that are left train"),
        (asked.test != "fold", ("split.folds", "split.fold"), f"split.test is {asked.test}"),
        (asked.test != "site", ("split.site",), f"split.test is {asked.test}"),
        (not split.validation, (*watched, *chosen), "split.validation is 0, nobody validates"),
        (not settings.evaluate_test, tested, "evaluate_test is false"),
        (not split.test, tested, "no patient tests"),
    ]


def _of_groups(settings: FinetuneSettings) -> list[Rule]:
    """Return what needs another setting to be on."""
    transfer, missing, draw = settings.transfer, settings.missing, settings.augmentation
    scratch, point = settings.init_from is None, settings.operating_point
    known = ("parts", "threshold", "spend_test")
    alone = scratch and not settings.pseudo.makes_labels
    unnamed = scratch and settings.pseudo.keep is None
    rules: list[Rule] = [
        (scratch, [f"transfer.{key}" for key in known], "there is no init_from"),
        (alone, ("transfer.other_cohort",), "there is no init_from"),
        (unnamed, ("transfer.classes",), "there is no init_from"),
        (
            transfer.method != "first_layers",
            ("transfer.layers",),
            f"transfer.method is {transfer.method}, not first_layers",
        ),
        (
            transfer.method != "adapters",
            ("transfer.rank", "transfer.alpha"),
            f"transfer.method is {transfer.method}, not adapters",
        ),
        (
            transfer.method in ("frozen", "probe"),
            ("transfer.encoder_rate",),
            f"encoders do not train with transfer.method={transfer.method}",
        ),
        (not missing.dropout, ("missing",), "missing.dropout is 0"),
        (not missing.distillation, ("missing.temperature",), "missing.distillation is 0"),
        (not settings.copies.p, ("copies",), "copies.p is 0"),
        (not settings.teacher.weight, ("teacher",), "teacher.weight is 0"),
        (
            not settings.pseudo.makes_labels,
            ("pseudo",),
            "there is no pseudo.segmenter and no pseudo.keep",
        ),
        (not settings.synthetic.on, ("synthetic",), "synthetic.p and synthetic.replay are 0"),
        (not settings.synthetic.replay, ("synthetic.unpasted",), "synthetic.replay is 0"),
        (not settings.organs.numbers, ("organs",), "organs.numbers is empty"),
        (settings.validate_on == "patches", ("pictures",), "validate_on is patches"),
        (not point.choose, (*POINT, "operating_point.by"), "operating_point.choose is false"),
        (point.by == "expected", BY_LABELS, "operating_point.by is expected"),
        (point.by == "labels", ("operating_point.expected",), "operating_point.by is labels"),
        (
            not draw.misalign_p,
            ("augmentation.misalign", "augmentation.misalign_turn"),
            "augmentation.misalign_p is 0",
        ),
        (not draw.count_noise.p, ("augmentation.grain_mm",), "augmentation.count_noise.p is 0"),
        (not draw.gamma.p, ("augmentation.inverted",), "augmentation.gamma.p is 0"),
    ]
    return rules


def _of_modalities(modalities: Sequence[str]) -> list[Rule]:
    """Return what needs modalities that the network does not see."""
    alone, units = len(modalities) == 1, {modality(name).unit for name in modalities}
    sees = f"the network sees {', '.join(modalities)} alone"
    pairs = ("misalign", "misalign_turn", "misalign_p", "dropout")
    return [
        (alone, ("missing", *(f"augmentation.{key}" for key in pairs)), sees),
        ("SUV" not in units, [f"augmentation.{key}" for key in COUNTS], f"no SUV, {sees}"),
        ("SUV" not in units, ("operating_point.suv_floors",), f"no SUV, {sees}"),
        (units == {"SUV"}, [f"augmentation.{key}" for key in WINDOW], sees),
    ]


def _named(settings: FinetuneSettings, modalities: Sequence[str]) -> list[Idle]:
    """Return the modalities that settings name and the network does not see."""
    sees, moved = ", ".join(modalities), settings.augmentation.misalign
    usual = {"pet": 10.0}  # the default names a PET, whether there is one or not
    idle = [
        Idle((), f"condition {condition} is left out: the network sees {sees}")
        for condition in settings.conditions or ()
        if not set(condition.split("+")) & set(modalities)
    ]
    for name in moved if len(modalities) > 1 and moved != usual else ():
        if name not in modalities:
            idle.append(Idle((f"augmentation.misalign.{name}",), f"the network sees {sees}"))
    return idle
