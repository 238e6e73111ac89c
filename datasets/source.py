"""What an importer is asked for and what it answers; ids that are safe; the nearest root."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from hilum.core.case import Case
from hilum.core.errors import DataError
from hilum.core.files import hash_of
from hilum.core.notes import Note
from hilum.core.settings import Settings, load

from .io.nifti import ENDINGS
from .manifest import RESERVED

T = TypeVar("T")
S = TypeVar("S", bound=Settings)
Progress = Callable[[int, int, str], None]
LONGEST = 100
SKIP = "skip"
"""What `--name word=skip` says in words, and `--name word=` without."""


@dataclass(frozen=True)
class Source:
    """One request to read a layout.

    Attributes:
        root: Folder (for `table`, file) of the layout.
        out: Folder of the manifest; converted files go to `out/cases/<case>/`.
        names: What the layout's own words mean here, as in `{"suv": "pet"}`; they come before the
            importer's own table.
        options: `key=value`, for importers that have settings of their own.
        workers: Processes for conversions.
        progress: Gets how many cases are done, how many there are, and the case.
        values: What values of the masks mean, as in `{255: 1}`.
    """

    root: Path
    out: Path
    names: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    workers: int = 1
    progress: Progress | None = None
    values: Mapping[float, int] = field(default_factory=dict)

    def words(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return `known` with the user's names on top, keys in lower case without `.nii.gz`.

        A word to skip means nothing.
        """
        named = {word: "" if name == SKIP else name for word, name in self.names.items()}
        words = {k.strip(): v for k, v in {**known, **named}.items()}
        return {(stem_of(Path(k)) or k).lower(): v for k, v in words.items()}

    def settings(self, cls: type[S]) -> S:
        """Return the importer's own settings; text is taken as it is, not as YAML.

        A pattern begins with `{` and a folder may be called `2024`, which YAML would not take for
        text.
        """
        texts = [name for name, field in cls.model_fields.items() if field.annotation is str]
        options = []
        for option in self.options:
            key, sign, text = option.partition("=")
            if sign and key in texts and text[:1] not in ("'", '"'):
                option = f"{key}={json.dumps(text, ensure_ascii=False)}"
            options.append(option)
        return load(cls, (), options)


@dataclass(frozen=True)
class LeftOut:
    """A case that could not be imported, and why."""

    case: str
    reason: str


@dataclass(frozen=True)
class Imported:
    """What an importer found.

    Attributes:
        cases: The sound ones.
        left_out: The others.
        renamed: The layout's own name of each case whose id differs from it.
        notes: What the user should know, of a case or of the whole cohort.
        classes: Values that masks may hold, where the layout lists them; a mask with another one
            is left out.
    """

    cases: list[Case] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    classes: frozenset[int] | None = None

    def raise_if_empty(self, expected: str, root: Path) -> Imported:
        """Raise an error if no case is left; else return self."""
        if self.cases:
            return self
        if self.left_out:
            first = self.left_out[0]
            raise DataError(
                "at least one case must be sound",
                file=root,
                found=f"{len(self.left_out)} bad ones; the first, {first.case}: {first.reason}",
                remedy="mend the first one, and try again",
            )
        raise DataError(
            f"the folder must hold {expected}",
            file=root,
            found="none",
            remedy="see docs/datasets.md",
        )


def collect(items: Mapping[str, T], make: Callable[[str, T], Case]) -> Imported:
    """Make a case of each item, with a safe id; one that raises a `DataError` is left out.

    Args:
        items: By the layout's own, unique name of the case.
        make: Gets the id and the item.
    """
    found = Imported()
    for name, key in safe_ids(items).items():
        try:
            found.cases.append(make(key, items[name]))
        except DataError as error:
            found.left_out.append(LeftOut(key, str(error)))
        if key != name:
            found.renamed[key] = name
    return found


def safe_ids(names: Iterable[str]) -> dict[str, str]:
    """Return for each name a folder name of letters, digits, `.`, `-` and `_` that no other has.

    Accents are dropped and all else becomes `_`; names over 100 characters are cut. What is cut, or
    would coincide (also on a file system that takes `A` for `a`), ends in a hash of its own name,
    so that ids do not depend on the order or the number of the cases.

    Examples:
        >>> safe_ids(["CT Ganzkörper", "b"])
        {'CT Ganzkörper': 'CT_Ganzkorper', 'b': 'b'}
    """
    plain = {name: _plain(name) for name in names}
    count = Counter(short.casefold() for short in plain.values())
    return {
        name: short
        if count[short.casefold()] == 1 and len(short) <= LONGEST
        else f"{short[: LONGEST - 7]}-{hash_of(name, 6)}"
        for name, short in plain.items()
    }


def find_root(root: Path, fits: Callable[[Path], bool], expected: str) -> Path:
    """Return `root`, or the one folder right inside of it that fits.

    Raises:
        DataError: Saying what was expected, with the nearest folder above or below that fits.
    """

    def does(path: Path) -> bool:
        try:
            return fits(path)
        except OSError:
            return False

    if not root.is_dir():
        raise DataError("no such folder", file=root, remedy="check the path")
    if does(root):
        return root
    below = [path for path in folders(root) if does(path)]
    if len(below) == 1:
        return below[0]
    near = below or [path for path in list(root.absolute().parents)[:3] if does(path)]
    near = near or [path for child in folders(root) for path in folders(child) if does(path)]
    raise DataError(
        f"the folder must hold {expected}",
        file=root,
        found=", ".join(sorted(p.name for p in root.iterdir())[:4]) or "nothing",
        remedy=f"try {near[0]}" if near else "see docs/datasets.md",
    )


def folders(path: Path) -> list[Path]:
    """Return the visible folders right inside of one, in order; none if it cannot be read."""
    try:
        found = [
            f for f in path.iterdir() if f.name[0] != "." and f.name != "__MACOSX" and f.is_dir()
        ]
    except OSError:
        return []
    return sorted(found)


def stem_of(file: Path) -> str:
    """Return the name without `.nii` or `.nii.gz`, or nothing for any other or a hidden file."""
    ending = next((end for end in ENDINGS if file.name.lower().endswith(end)), None)
    return file.name[: -len(ending)] if ending and file.name[0] != "." else ""


def scans_in(folder: Path) -> dict[str, Path]:
    """Return the NIfTI files right inside of a folder by their name in lower case without ending.

    Raises:
        DataError: If one is there as `.nii` and as `.nii.gz`, or the folder cannot be read.
    """
    found: dict[str, Path] = {}
    for file in _listed(folder):
        stem = stem_of(file).lower()
        if stem and stem in found:
            raise DataError(
                f"there may be one file for {stem}",
                file=folder,
                found=f"{found[stem].name} and {file.name}",
                remedy="remove one",
            )
        if stem:
            found[stem] = file
    return found


def volumes_of(
    files: Mapping[str, Path], words: Mapping[str, str], case: str
) -> tuple[dict[str, Path], Path | None]:
    """Return the file of each modality and of the label.

    Args:
        files: By the layout's word, in lower case.
        words: Modality or `label` of each word, or nothing for a word to pass over.
        case: For messages.

    Raises:
        DataError: If two files mean the same, or there is no scan.
    """
    found: dict[str, Path] = {}
    for word, file in files.items():
        name = words.get(word, "")
        if name and name in found:
            raise DataError(
                f"a case may hold one file for {name}",
                case=case,
                file=file.parent,
                found=f"{found[name].name} and {file.name}",
                remedy="remove one, or give one another name",
            )
        if name:
            found[name] = file
    label = found.pop("label", None)
    if not found:
        raise DataError(
            "a case must have a scan",
            case=case,
            found=", ".join(sorted(files)) or "no file",
            remedy="give its CT or PET, or remove the case",
        )
    return found, label


def _plain(name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    short = re.sub(r"[^A-Za-z0-9.-]+", "_", ascii_only).strip("._-")
    return f"case_{short}" if not short or short.split(".")[0].lower() in RESERVED else short


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            "the folder must be readable",
            file=folder,
            found=error.strerror,
            remedy="check who may read it",
        ) from error
