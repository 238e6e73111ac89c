"""The command `plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import clean_stop, say
from .options import KeyValues


@clean_stop
def plan(
    store: Annotated[Path, typer.Argument(help="Case store.")],
    out: Annotated[Path, typer.Option(help="YAML file for `hilum finetune` or `pretrain` -c.")],
    settings: KeyValues = None,
) -> None:
    """Choose network, patch, batch and length for a cohort and this machine, with reasons."""
    from hilum.core.outputs import check_output_file
    from hilum.core.settings import PLANNED, load
    from hilum.finetune.plan import PlanSettings

    check_output_file(out, "plan", lambda file: file.read_bytes().startswith(PLANNED.encode()))
    asked = load(PlanSettings, [], settings or [])
    from hilum.core.files import write_text
    from hilum.datasets.store.case_store import CaseStore
    from hilum.finetune.advice import advice, pretext_advice, rule_advice
    from hilum.finetune.fingerprint import fingerprint, notes
    from hilum.finetune.plan import plan as run
    from hilum.finetune.plan import settings_of

    cases = CaseStore(store)
    decisions = run(cases, asked)
    for decision in decisions:
        key = decision.key.removesuffix("._")
        value = "" if decision.value is None else f" = {decision.value}"
        say(f"{key}{value}: {decision.why}")
    labelled = {case.patient for case in map(cases.__getitem__, cases.ids) if case.labelled}
    for key, why in [
        *pretext_advice(cases.rows, cases.spacing),
        *advice(fingerprint(cases), len(labelled)),
        *rule_advice(cases),
    ]:
        say(f"{key}: {why}")
    for note in notes(fingerprint(cases)):
        say(f"note: {note}")
    import yaml

    text = yaml.safe_dump(settings_of(decisions), sort_keys=False, default_flow_style=None)
    write_text(out, f"{PLANNED}{store} --out {out}\n{text}")
    say(f"wrote {out}; train with: hilum finetune --out RUN -c {out} store={store} split.labels=N")
    say(f"or pretrain the same encoder with: hilum pretrain --out RUN -c {out} store={store}")
