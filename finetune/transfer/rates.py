"""Learning rates of what is pretrained: factors by evidence, and their course over the steps."""

from __future__ import annotations

from typing import NamedTuple

from hilum.core.counts import many
from hilum.training.optimisation import rate_at
from hilum.training.settings import TrainerSettings

FEW_PATIENTS = 5
FEW_FOR_A_RULE = 4
GENTLE = 0.2


class Choice(NamedTuple):
    """A factor on the learning rate, and why."""

    factor: float
    why: str


def default_rate(patients: int, whole: bool, rule: bool = False) -> Choice:
    """Return the factor on all learning rates, by what is pretrained and the labels there are.

    Network pretrained on synthetic nodes (recipes/study/transfer_strategies.yaml, three draws):
    from one, two and five labelled patients Dice was .274, .440 and .454 at the usual rate, .349,
    .458 and .467 at a fifth of it, none of which is shown by itself. Network that begins as an SUV
    threshold: a trial on real patients that no command here repeats, four draws; from one, two and
    four .521, .528 and .587 at the usual rate, .573, .601 and .622 at a fifth of it.

    Args:
        patients: Labelled patients to learn from.
        whole: Whether encoder, decoder and heads are pretrained.
        rule: Whether the segmenter begins as a rule.
    """
    people = many(patients, "labelled patient")
    if rule and patients <= FEW_FOR_A_RULE:
        return Choice(
            GENTLE,
            f"the rule that it begins as is soon unlearned from {people}: in a trial on real ones "
            "a fifth of the usual rate had .05, .07 and .04 more Dice with 1, 2 and 4",
        )
    if rule and not whole:
        return Choice(1.0, f"{people} can correct a rule at the usual rate")
    if not whole:
        return Choice(1.0, "the heads are new: pretrained parts learn as fast as the rest")
    if patients <= FEW_PATIENTS:
        return Choice(
            GENTLE,
            f"a whole pretrained network forgets what {people} cannot show: on phantoms a fifth of "
            "the usual rate had .08, .02 and .01 more Dice with 1, 2 and 5 of them",
        )
    return Choice(
        1.0,
        f"{people} show more than a gentle rate would take up",
    )


def factor_at(step: float, first: int, trainer: TrainerSettings) -> float:
    """Return the factor on the learning rate of parameters that train from step `first` on.

    They follow the schedule of the run, and have a warm-up of their own from `first` on.
    """
    if step < first:
        return 0.0
    rising = max(round(trainer.warmup * trainer.steps), 1)
    own = min((step - first + 1) / rising, 1.0) if first else 1.0
    return own * rate_at(step, trainer.steps, trainer.warmup, trainer.schedule)


def sawtooth_at(step: float, first: int, late: bool, trainer: TrainerSettings) -> float:
    """Return the factor on the learning rate in the sawtooth schedule.

    Up to step `first` the decoder trains alone, its rate rising to the full one. Then all begin
    again with the warm-up and schedule of the run, over the steps that are left.

    Source:
        Wald et al., "OpenMind", ICCV 2025, arXiv:2412.17041 (fine-tuning schedules): sawtooth was
        the best of six on average over tasks. There both rises have 50 epochs.

    Args:
        step: Counted from 0.
        first: Step at which all train.
        late: Whether the parameters are those that wait.
        trainer: Of the run.
    """
    if step < first:
        return 0.0 if late else (step + 1) / first
    left = trainer.steps - first
    return rate_at(
        step - first, left, min(trainer.warmup * trainer.steps / left, 1.0), trainer.schedule
    )
