"""Train in rounds: each round's segmenter labels the unlabelled cases for the next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hilum.core.continued import LONGER, OTHER
from hilum.core.errors import RunError, SettingsError
from hilum.core.outputs import check_output, mark
from hilum.core.settings import read_yaml, validate
from hilum.datasets.splits import make_split
from hilum.datasets.store.case_store import CaseStore

from ..run import finetune
from ..settings import FinetuneSettings
from .settings import PseudoSettings
from .unlabelled import unlabelled_cases

Say = Callable[[str], None]


def self_train(
    settings: FinetuneSettings, out: str | Path, rounds: int, *, say: Say = print
) -> Path:
    """Train on the labelled cases, then so many rounds on pseudo-labels of the round before.

    Every round starts from the same encoder and seed, so that its gain comes from its labels. Only
    the last is tested: a choice among rounds by their test results would flatter them. A call that
    was stopped goes on.

    Source:
        Lee, "Pseudo-label", ICML workshop 2013; rounds as in Xie et al., "Self-training with Noisy
        Student", CVPR 2020, arXiv:1911.04252: the augmentation is the noise.

    Args:
        settings: Of every round. `pseudo.segmenter` labels for the first, if it is given.
        out: Folder; round `n` is the run folder `round_<n>`.
        rounds: How many use pseudo-labels of the one before.
        say: Gets a line now and then.

    Returns:
        The segmenter folder of the last round.
    """
    out = Path(out)
    check_output(out, "finetune --rounds", earlier=lambda folder: (folder / "round_0").is_dir())
    check_rounds(settings, rounds)
    _not_longer(settings, out)
    mark(out, "finetune --rounds")
    folder = None
    for number in range(rounds + 1):
        values = settings.pseudo.model_dump()
        values["segmenter"] = folder or values["segmenter"]
        update = {
            "pseudo": validate(PseudoSettings, values),
            "evaluate_test": settings.evaluate_test and number == rounds,
        }
        say(f"round {number} of {rounds}")
        run = settings.model_copy(update=update)
        folder = finetune(run, out / f"round_{number}", say=say)
    assert folder is not None
    return folder


def check_rounds(settings: FinetuneSettings, rounds: int) -> list[str]:
    """Return the cases that rounds would label; no round may begin if there are none.

    Raises:
        SettingsError: If these settings leave nothing for rounds to do.
        DataError: If every case that trains has labels.
    """
    if rounds < 1:
        raise SettingsError("rounds must be 1 or more", found=rounds, remedy="as in --rounds 2")
    if settings.split.labels == 0:
        raise SettingsError(
            "without labels nothing is trained, so there are no rounds",
            remedy="leave out --rounds, or set split.labels=1 or more",
        )
    if settings.pseudo.keep is not None:
        raise SettingsError(
            "each round's segmenter labels unlabelled cases, pseudo.keep completes labels",
            remedy="leave out --rounds, or pseudo.keep",
        )
    store = CaseStore(settings.store)
    names = settings.modalities or store.modalities
    return unlabelled_cases(store, make_split(store, settings.split), names)


def _not_longer(settings: FinetuneSettings, out: Path) -> None:
    """Raise an error if rounds that began would go on with more steps or another rate.

    A longer round labels anew, and the next would have learned from labels that are gone.
    """
    config = out / "round_0" / "config.yaml"
    if not config.is_file():
        return
    before, now = read_yaml(config).get("trainer", {}), settings.trainer.model_dump(mode="json")
    changed = [key.partition(".")[2] for key in (*LONGER, *OTHER)]
    changed = [key for key in changed if before.get(key) != now[key]]
    if changed:
        raise RunError(
            "rounds cannot go on with other settings, since each labels for the next",
            file=out,
            found=f"trainer.{changed[0]} was {before.get(changed[0])}, now {now[changed[0]]}",
            remedy="choose another output folder",
        )
