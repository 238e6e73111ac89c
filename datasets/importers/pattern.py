"""Import plain folders by a pattern such as `{patient}/{case}_{modality}.nii.gz`."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, field_validator

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError
from hilum.core.modality import MODALITIES
from hilum.core.notes import Note
from hilum.core.settings import Settings

from ..source import Imported, Source, collect, stem_of, volumes_of
from .folder import is_scan_or_label

FIELDS = ("case", "patient", "modality", "site", "split", "rater")
SPLITS = {"tr": "train", "train": "train", "training": "train"} | {
    "ts": "test",
    "test": "test",
    "testing": "test",
}
_FIELD = re.compile(r"\{(\w*)\}")


class Pattern(Settings):
    """Where files lie below the folder; `/` parts folders, `*` stands for any part of a name."""

    pattern: str = Field(
        ...,
        description="path of a scan with {case} or {patient}, and {modality}, {site}, {split}",
    )
    label: str = Field(
        "",
        description="path of a label, if `pattern` does not lead to it; {rater}: one of several",
    )
    modality: str = Field("", description="modality of every scan, if `pattern` has none")

    @field_validator("pattern", "label")
    @classmethod
    def _has_fields(cls, text: str) -> str:
        names = _FIELD.findall(text)
        unknown = [name for name in names if name not in FIELDS]
        if unknown:
            raise ValueError(f"a pattern may hold {', '.join(f'{{{n}}}' for n in FIELDS)}")
        if text and not {"case", "patient"} & set(names):
            raise ValueError("a pattern must hold {case} or {patient}")
        return text

    @field_validator("pattern")
    @classmethod
    def _of_scans(cls, text: str) -> str:
        if "{rater}" in text:
            raise ValueError("{rater} belongs into label=: no rater draws a scan")
        return text


@dataclass
class _Found:
    """What was matched of one case: files by word, and every value of each field."""

    files: dict[str, Path] = field(default_factory=dict)
    values: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    raters: dict[str, Path] = field(default_factory=dict)
    twice: str = ""


def import_pattern(source: Source) -> Imported:
    """Read every file below the folder that fits.

    A field stands for any text without `/`, as little as fits; a field that stands twice must be
    the same twice. Names map what `{modality}` and `{split}` match; what is neither a modality,
    `label`, nor mapped, does not fit. Without `{case}`, each patient is one case. A case whose name
    another patient has, too, gets the patient before it.

    Raises:
        SettingsError: If there is no pattern, or it names no modality.
        DataError: If no file fits.
    """
    settings = source.settings(Pattern)
    if "{modality}" not in settings.pattern and not settings.modality:
        raise SettingsError(
            "a pattern must hold {modality}", found=settings.pattern, remedy="or add modality=ct"
        )
    if not source.root.is_dir():
        raise DataError("no such folder", file=source.root, remedy="check the path")
    words = source.words({})
    found, passed = _match(source.root, settings, words)
    if not found:
        raise DataError(
            f"the folder must hold files like {settings.pattern}",
            file=source.root,
            found=f"{len(passed)} files of NIfTI, none of them like it",
            remedy="map other words for modalities, as in --name suv=pet",
        )
    names = [case for _, case in found]
    items = {
        case if names.count(case) == 1 else f"{patient}_{case}": ((patient, case), entry)
        for (patient, case), entry in found.items()
    }
    known = {word: words.get(word, word) for entry in found.values() for word in entry.files}

    def make(case: str, item: tuple[tuple[str, str], _Found]) -> Case:
        (patient, _), entry = item
        if entry.twice:
            raise DataError(
                "one file may fit", case=case, found=entry.twice, remedy="narrow the pattern"
            )
        volumes, label = volumes_of(entry.files, known, case)
        raters = dict(sorted(entry.raters.items()))
        site, split = (_one(case, name, entry.values[name]) for name in ("site", "split"))
        split = words.get(split.lower(), SPLITS.get(split.lower(), ""))
        return Case(case, patient, volumes, label, site, split, raters=raters)

    result = collect(items, make)
    result.notes.extend(_about_labels(settings, found.values()))
    if passed:
        result.notes.append(Note("warning", "files passed over", _about(passed, settings)))
    return result.raise_if_empty(f"files like {settings.pattern}", source.root)


def _about_labels(settings: Pattern, found: Collection[_Found]) -> list[Note]:
    """Return a note if `label=` fits no file, or not one of every case."""
    without = [entry for entry in found if "label" not in entry.files and not entry.raters]
    if not settings.label or not without:
        return []
    text = f"label={settings.label} fits no file of {len(without)} of {len(found)} cases"
    if len(without) < len(found):
        return [Note("info", "cases without a label", text)]
    text += ": none is labelled; mend the pattern, which leads from the imported folder"
    return [Note("warning", "a pattern that fits nothing", text)]


def _match(
    root: Path, settings: Pattern, words: Mapping[str, str]
) -> tuple[dict[tuple[str, str], _Found], list[str]]:
    """Return what fits by patient and case, and the files of NIfTI that do not fit."""
    patterns = [(_regex(settings.pattern, words), settings.modality.lower())]
    if settings.label:
        patterns.append((_regex(settings.label, words), "label"))
    found: dict[tuple[str, str], _Found] = {}
    passed: list[str] = []
    for file in sorted(path for path in root.rglob("*") if stem_of(path)):
        text = file.relative_to(root).as_posix()
        hits = ((regex.fullmatch(text), word) for regex, word in patterns)
        match, word = next(((m, w) for m, w in hits if m), (None, ""))
        values = match.groupdict() if match else {}
        word = (values.get("modality") or word).lower()
        if match and words.get(word) == "":
            continue
        if not match or not (words.get(word) or is_scan_or_label(word)):
            passed.append(text)
            continue
        case = values.get("case") or values["patient"]
        entry = found.setdefault((values.get("patient") or case, case), _Found())
        rater = (values.get("rater") or "").lower()
        files, word = (entry.raters, rater) if rater else (entry.files, word)
        if word in files:
            entry.twice = f"{files[word].name} and {file.name} for {word}"
        files[word] = file
        for name in ("site", "split"):
            entry.values[name] |= {values[name]} if values.get(name) else set()
    return found, passed


def _about(passed: list[str], settings: Pattern) -> str:
    """Return in words which files do not fit, and what `--name` could say of them."""
    loose = _regex(settings.pattern, None)
    hits = (loose.fullmatch(text) for text in passed)
    words = dict.fromkeys(m["modality"].lower() for m in hits if m and "modality" in m.groupdict())
    more = f" and {len(passed) - 3} more" if len(passed) > 3 else ""
    text = f"{len(passed)} files of NIfTI do not fit the pattern and were passed over: "
    text += ", ".join(passed[:3]).encode("utf-8", "backslashreplace").decode() + more
    if word := next(iter(words), ""):
        given = shlex.quote(f"{word}=pet"), shlex.quote(f"{word}=")
        text += f"; {', '.join(words)} in the place of {{modality}}: say what it is, as in --name "
        text += f"{given[0]}, or --name {given[1]} to skip"
    return text


def _regex(text: str, words: Mapping[str, str] | None) -> re.Pattern[str]:
    """Return the expression of a pattern; `.nii.gz` fits `.nii`, too.

    Without words, any text may stand for the modality.
    """
    seen: set[str] = set()

    def group(name: str) -> str:
        if name in seen:
            return f"(?P={name})"
        seen.add(name)
        inner = "[^/]+?" if name != "modality" or words is None else _modalities(words)
        return f"(?P<{name}>{inner})"

    text = re.sub(r"\.nii(\.gz)?$", "", text.strip("/"))
    parts = _FIELD.split(text)
    parts[::2] = [re.escape(part).replace(r"\*", "[^/]*") for part in parts[::2]]
    parts[1::2] = [group(name) for name in parts[1::2]]
    return re.compile("".join(parts) + r"\.nii(\.gz)?", re.IGNORECASE)


def _modalities(words: Mapping[str, str]) -> str:
    """Return an expression for the words that name a modality or the label, the longest first."""
    mapped = sorted(map(re.escape, words), key=len, reverse=True)
    own = [name for name in ("label", *MODALITIES) if words.get(name, name)]
    return "|".join(
        [*mapped, *(f"{name}(?:_[a-z0-9]+)?" if name != "label" else name for name in own)]
    )


def _one(case: str, name: str, values: set[str]) -> str:
    if len(values) > 1:
        raise DataError(
            f"a case may have one {name}",
            case=case,
            found=", ".join(sorted(values)),
            remedy="make the pattern so narrow that one file of a case fits",
        )
    return next(iter(values), "")
