"""Import SegRap2025 LN CTV: nodal target volumes of the neck on plain and contrast CT.

`LNCTVSeg-DataSet/{Internal_Cohort,Testing_Cohort_1..4}/images{Tr,Ts}/*_{0000,0001}.nii.gz`, 0000
plain and 0001 contrast CT, `labels{Tr,Ts}` with classes 1 to 6.
"""

from __future__ import annotations

from pathlib import Path

from hilum.core.case import Case

from ..source import Imported, Source, collect, find_root, folders, volumes_of
from .nnunet_raw import RawCase, raw_cases

WORDS = {"0000": "ct_nc", "0001": "ct_ce", "label": "label"}
_EXPECTED = "Internal_Cohort/imagesTr and Testing_Cohort_*/imagesTs"


def import_segrap(source: Source) -> Imported:
    """Read every cohort; the cohort becomes the site, and cases may have one phase only.

    All of a testing cohort, and every `Ts`, is `test`. The layout names no patients beyond the
    cases, so each case of a cohort counts as one.
    """
    root = find_root(source.root, lambda path: bool(_cohorts(path)), _EXPECTED)
    items = {
        f"{cohort.name}_{name}": (cohort.name, raw)
        for cohort in _cohorts(root)
        for name, raw in raw_cases(cohort).items()
    }
    words = source.words(WORDS)

    def make(case: str, item: tuple[str, RawCase]) -> Case:
        cohort, raw = item
        files = {f"{number:04d}": file for number, file in raw.channels.items()}
        if raw.label:
            files["label"] = raw.label
        volumes, label = volumes_of(files, words, case)
        split = "test" if "test" in cohort.lower() else raw.split
        return Case(case, case, volumes, label, cohort, split)

    return collect(items, make).raise_if_empty(_EXPECTED, root)


def _cohorts(path: Path) -> list[Path]:
    return [
        child
        for child in folders(path)
        if (child / "imagesTr").is_dir() or (child / "imagesTs").is_dir()
    ]
