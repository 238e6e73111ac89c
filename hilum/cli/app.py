"""The front door: `hilum COMMAND`. Each command is a Python function with the same arguments.

Nothing heavy is imported before a command runs, so `hilum --help` answers at once.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hilum.core.errors import SettingsError, Stopped, UserError
from hilum.core.waiting import bound_waiting

from .annotate import annotate
from .average import average
from .bench import bench
from .calibrate import calibrate
from .compare import compare
from .console import clean_stop, say
from .contract import contract
from .data import check, export_nnunet, import_, phantom, prepare, preview
from .embed import embed
from .evaluate import evaluate
from .explain import explain
from .export import export
from .options import Config, DryRun, KeyValues, MethodNames, Workers
from .plan import plan
from .predict import predict
from .robustness import robustness
from .study import study
from .view import view
from .weights import import_weights

app = typer.Typer(
    name="hilum",
    help="Multimodal fusion and transfer learning for segmenting lymph nodes in paired scans.",
    no_args_is_help=True,
    rich_markup_mode=None,  # square brackets in a text are text
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(study, name="study")
app.add_typer(annotate, name="annotate")


def _say_version(asked: bool | None) -> None:
    if asked:
        from importlib.metadata import version

        say(f"hilum {version('hilum')}")
        raise typer.Exit


@app.callback()
def front_door(
    version: Annotated[
        bool | None,
        typer.Option(
            "--version", callback=_say_version, is_eager=True, help="Show the version and exit."
        ),
    ] = None,
) -> None:
    """Multimodal fusion and transfer learning for segmenting lymph nodes in paired scans."""


USAGE: type[Exception] = typer.BadParameter.__mro__[1]
"""What a command is that was written wrong, whichever library typer reads commands with."""


def main() -> None:
    """Run the command line; a user's mistake is one line and exit code 2."""
    bound_waiting()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that knows few characters still shows the others, by their numbers.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
    except USAGE as mistake:
        print(_usage(mistake), end="", file=sys.stderr)
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(130) from None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except Stopped as stop:
        print(stop, file=sys.stderr)
        raise SystemExit(stop.exit_code) from None
    except OSError as error:
        from hilum.core.files import full_disk

        problem = full_disk(error, error.filename or "a file")
        if problem is error:
            raise
        print(f"error: {problem}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(code if isinstance(code, int) else 0)


def _usage(mistake: Exception) -> str:
    """Return in one line what is wrong with the words of a command; without words, the help."""
    text = mistake.format_message()  # pyright: ignore[reportAttributeAccessIssue]
    context = getattr(mistake, "ctx", None)
    if not text or "\n" in text or context is None:
        return text
    return f"error: {text.rstrip('.')}; see `{context.command_path} --help`\n"


@app.command()
@clean_stop
def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything.")] = Path("demo"),
    workers: Workers = 2,
) -> None:
    """Run the whole flow on a phantom cohort and write report.html."""
    from hilum.study.demo import demo as run

    report = run(out, workers=workers, say=say)
    say(f"the report is {report}")


app.command()(phantom)
app.command("import")(import_)
app.command()(check)
app.command()(prepare)
app.command()(preview)
app.command()(plan)
app.command()(bench)
app.command()(embed)
app.command()(predict)
app.command()(view)
app.command()(evaluate)
app.command()(compare)
app.command()(robustness)
app.command()(calibrate)
app.command()(explain)
app.command()(average)
app.command()(contract)
app.command()(export_nnunet)
app.command()(export)
app.command("import-weights")(import_weights)


@app.command()
@clean_stop
def pretrain(
    out: Annotated[Path, typer.Option(help="Run folder; a rerun resumes.")],
    settings: KeyValues = None,
    config: Config = None,
    dry_run: DryRun = False,
) -> None:
    """Train without labels: OUT/encoder, and OUT/network where the task has a decoder."""
    from hilum.core.settings import load
    from hilum.pretrain.settings import PretrainSettings

    resolved = load(PretrainSettings, config or [], settings or [])
    if dry_run:
        from hilum.pretrain.ready import ready

        return _show(resolved, ready(resolved).lines())
    from hilum.pretrain.run import pretrain as run

    say(f"encoder: {run(resolved, out)}")
    if (network := out / "network").is_dir():
        say(f"network: {network} (fine-tune it whole: init_from={network})")
    return None


@app.command()
@clean_stop
def finetune(
    out: Annotated[Path, typer.Option(help="Run folder; a rerun resumes.")],
    settings: KeyValues = None,
    config: Config = None,
    dry_run: DryRun = False,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Cross-validate: OUT/fold_0 and so on, an ensemble.")
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="Rounds on pseudo-labels of the round before: OUT/round_1, ..."),
    ] = None,
) -> None:
    """Train a segmenter from n labelled patients; the segmenter folder is OUT/segmenter."""
    from hilum.core.settings import load
    from hilum.finetune.settings import FinetuneSettings

    resolved = load(FinetuneSettings, config or [], settings or [])
    if folds and rounds:
        raise SettingsError("--folds and --rounds cannot go together", remedy="choose one")
    if rounds and resolved.baseline is not None:
        raise SettingsError("a baseline learns nothing from rounds", remedy="leave out --rounds")
    if dry_run:
        from hilum.finetune.planned import planned

        return _show(resolved, planned(resolved, folds=folds, rounds=rounds))
    if folds:
        from hilum.finetune.folds import cross_validate

        ensemble = cross_validate(resolved, out, folds, say=say)
        what = "folds" if resolved.baseline is not None else f"ensemble of {folds}"
        say(f"{what}: {ensemble}")
    elif rounds:
        from hilum.finetune.semi_supervised.self_training import self_train

        say(f"segmenter: {self_train(resolved, out, rounds, say=say)}")
    else:
        from hilum.finetune.run import finetune as run

        made = run(resolved, out)
        say(f"{'baseline' if resolved.baseline is not None else 'segmenter'}: {made}")
    return None


@app.command("list")
def list_(
    what: Annotated[str | None, typer.Argument(help="One table; all without it.")] = None,
    cost: Annotated[
        bool, typer.Option("--cost", help="Build and measure encoders or fusion strategies here.")
    ] = False,
    patch: Annotated[
        list[int] | None, typer.Option(help="Side of a patch for the cost of fusion; may repeat.")
    ] = None,
) -> None:
    """List encoders, fusion strategies, pretext tasks, modalities, metrics and formats."""
    from .inventory import tables

    for line in tables(what, cost, patch or ()):
        say(line)


@app.command("settings")
def settings_(
    command: Annotated[str, typer.Argument(help="As in prepare, import-pattern or annotate-plan.")],
    methods: MethodNames = None,
    schema: Annotated[bool, typer.Option("--schema", help="JSON schema for editors.")] = False,
) -> None:
    """List the settings of a command with their meaning, unit and default."""
    from .inventory import settings_of

    for line in settings_of(command, schema, methods or ()):
        say(line)


@app.command()
@clean_stop
def inspect(
    path: Annotated[
        Path, typer.Argument(help="Case store, run, folder of weights, or weights of any tool.")
    ],
) -> None:
    """Show what a folder or a weights file contains: source, network, coverage."""
    from .contents import describe_any

    for line in describe_any(path):
        say(line)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(help="Print this one.")] = None,
) -> None:
    """List the recipes for -c and for studies, or print one."""
    from hilum.core.recipes import find_recipe, purpose
    from hilum.core.recipes import recipes as known

    if name is not None:
        say(find_recipe(name).read_text("utf-8").rstrip())
        return
    files = known()
    wide = max(map(len, files))
    for key, file in files.items():
        say(f"{key:<{wide}}  {purpose(file)}")


@app.command()
def doctor() -> None:
    """Check this machine: versions, GPU, memory, optional packages."""
    from .doctor import examine

    lines, healthy = examine()
    for line in lines:
        say(line)
    if not healthy:
        raise typer.Exit(1)


def _show(settings: Any, lines: Sequence[str]) -> None:
    """Print what would run, and the resolved settings as YAML; the lines are its comments."""
    import yaml

    for line in lines:
        say(f"# {line}")
    say(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False).rstrip())
