"""Recipes: settings files that come with hilum, found by name from anywhere."""

from __future__ import annotations

from pathlib import Path

from .errors import SettingsError, did_you_mean

FOLDER = Path(__file__).parents[1] / "recipes"


def recipes() -> dict[str, Path]:
    """Return every recipe by its name, `command/name` as in `finetune/few_label`."""
    files = sorted(FOLDER.glob("*/*.yaml"))
    return {f"{file.parent.name}/{file.stem}": file for file in files}


def purpose(file: Path) -> str:
    """Return what a recipe is for: the first line of its file."""
    first = file.read_text("utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def find_recipe(name: str | Path, command: str = "") -> Path:
    """Return the file of a recipe; a file that exists is taken as it is.

    Args:
        name: A path, `command/name`, or the name alone.
        command: Whose recipe is meant if several commands have one of this name.

    Raises:
        SettingsError: If there is neither such a file nor such a recipe, or several.
    """
    given = Path(name)
    if given.exists() or given.suffix in (".yaml", ".yml", ".json"):
        return given
    known, asked = recipes(), str(name)
    fit = [key for key in known if asked in (key, key.partition("/")[2])]
    own = [key for key in fit if key.startswith(f"{command}/")]
    fit = own or fit
    if len(fit) == 1:
        return known[fit[0]]
    if fit:
        raise SettingsError(
            f"several commands have a recipe {asked!r}", remedy=f"say which: {' or '.join(fit)}"
        )
    short = [key.partition("/")[2] for key in known]
    raise SettingsError(
        f"there is neither a file nor a recipe {asked!r}{did_you_mean(asked, [*known, *short])}",
        remedy="list them with `hilum recipes`",
    )
