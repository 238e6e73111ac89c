"""Compare the masks of any two tools, patient by patient: the Python side of `hilum compare`."""

from __future__ import annotations

import csv
import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hilum.core.counts import many
from hilum.core.errors import DataError, SettingsError, did_you_mean
from hilum.core.files import write_json
from hilum.core.outputs import check_output, mark
from hilum.core.settings import validate
from hilum.core.undefined import with_interval
from hilum.datasets.io.masks import masks_in, some
from hilum.evaluation.metrics.surface import nsd_key
from hilum.evaluation.metrics.table import METRICS, is_metric, is_nsd, nsd_metrics
from hilum.evaluation.settings import EvaluationSettings
from hilum.evaluation.statistics.cohort import SUMS
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.segmenter.assessment.mask_files import labelled_cases
from hilum.segmenter.assessment.misses import remove_pictures
from hilum.segmenter.assessment.prepared_cases import write_rows
from hilum.segmenter.assessment.views import Target, in_order, name_of

from .metrics import COMPARED, NSD, Cases, Compared, compared
from .page import write_page


@dataclass(frozen=True)
class MaskComparison:
    """What a comparison of two folders found.

    Attributes:
        names: Of the two folders.
        rows: Every metric of every class and region.
        cases: Metrics of each case by class or region, of both folders.
        skipped: Metrics that were asked for and that nothing was measured of.
        patients: Patient of each case.
        out: Folder with tables and report.
    """

    names: tuple[str, str]
    rows: Sequence[Compared]
    cases: Mapping[Target, tuple[Cases, Cases]]
    patients: Mapping[str, str]
    out: Path
    skipped: tuple[str, ...] = ()

    @property
    def caveat(self) -> str:
        """What the comparison cannot see."""
        return CAVEAT

    def lines(self) -> list[str]:
        """Return the main numbers for a terminal."""
        a, b = self.names
        found = [f"{a} minus {b}, {many(len(set(self.patients.values())), 'patient')}"]
        for row in self.rows:
            c = row.comparison
            ends = with_interval(c.difference, c.ci_low, c.ci_high, "+.3f")
            of = f"{name_of(row.label)}: " if len(self.cases) > 1 else ""
            found.append(f"  {of}{row.title:<18} {ends}  {row.verdict(self.names)}")
        if self.skipped:
            found.append(f"note: not measured, so not compared: {', '.join(self.skipped)}")
        return [*found, CAVEAT, f"report in {self.out / 'report.html'}"]


CAVEAT = (
    "Each folder is taken as one trained model: another training of the same tool may differ by "
    "more than these intervals, which are for other patients only."
)


def compare(
    masks_a: str | Path,
    masks_b: str | Path,
    manifest: str | Path,
    out: str | Path,
    *,
    names: tuple[str, str] | None = None,
    metrics: Sequence[str] | None = None,
    margin: float = 0.02,
    settings: EvaluationSettings | None = None,
    workers: int = 1,
) -> MaskComparison:
    """Compare two folders of masks on the same patients, with the statistics of a study.

    Writes `comparison.csv` and `comparison.json`, `cases.csv` (both tools next to each other),
    `report.html`, and a folder with the evaluation of each tool. Nothing is written unless all
    masks can be measured.

    Args:
        masks_a: Folder of masks, `<case>.nii.gz`, on the grids of the labels.
        masks_b: The same of another tool.
        manifest: As for `evaluate`: a cohort with labels, or a folder of reference masks.
        out: Where to write.
        names: Of the tools; the names of the folders without.
        metrics: Which are compared; `metrics.COMPARED` without, with the NSD at the tolerance of
            the settings.
        margin: Largest difference of a metric between 0 and 1 that does not matter.
        settings: As for `evaluate`.
        workers: Processes, as for `evaluate`.

    Raises:
        DataError: If a folder is missing, lacks a case of the manifest, or has one on another grid.
        SettingsError: If both folders or names are the same, or a metric or the margin is wrong.
    """
    first, second, out = Path(masks_a), Path(masks_b), Path(out)
    names = names or _names(first, second)
    settings = settings or validate(EvaluationSettings, {})
    nsd = nsd_key(settings.tolerance_mm)
    asked = metrics if metrics is not None else [nsd if m == NSD else m for m in COMPARED]
    _check_metrics(asked, settings.tolerance_mm)
    _check(first, second, out, names, margin)
    _check_cases(Path(manifest), first, second)
    check_output(out, "compare", earlier="comparison.json", inputs=[first, second])
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as temporary:
        made = Path(temporary)
        both = []
        for name, folder in zip(names, (first, second), strict=True):
            evaluate(folder, manifest, made / name, settings=settings, workers=workers)
            both.append(_read(made / name / "cases.csv"))
        (cases_a, patients), (cases_b, _) = both
        labels = in_order([*cases_a, *cases_b])
        cases = {n: (cases_a.get(n, {}), cases_b.get(n, {})) for n in labels}
        rows = [row for n in labels for row in compared(n, *cases[n], patients, asked, margin)]
        skipped = tuple(m for m in asked if m not in {row.metric for row in rows})
        found = MaskComparison(names, rows, cases, patients, out, skipped)
        _write(found, made, margin)
        _move(made, out)
    return found


def _check(
    first: Path,
    second: Path,
    out: Path,
    names: tuple[str, str],
    margin: float,
) -> None:
    for folder in (first, second):
        if not folder.is_dir():
            raise DataError("no such folder of masks", file=folder, remedy="check the path")
    if first.resolve() == second.resolve():
        raise SettingsError(
            "the two folders of masks must differ",
            found=f"{first} twice",
            remedy="give two predictions of the same cases",
        )
    masks = (first.resolve(), second.resolve())
    for place in (out, *(out / name for name in names)):
        if place.resolve() in masks:
            raise SettingsError(
                "results must not lie among the masks",
                found=f"{place} holds masks",
                remedy="choose another folder with --out, or other names with --names",
            )
    if len(set(names)) < 2 or not all(name and Path(name).name == name for name in names):
        raise SettingsError(
            "the tools must have two different names that a folder can have",
            found=", ".join(map(repr, names)),
            remedy="name them, as in --names one,two",
        )
    if not margin > 0:
        raise SettingsError(
            "margin must be above 0", found=f"{margin:g}", remedy="as in --margin 0.02"
        )


def _check_metrics(metrics: Sequence[str], tolerance_mm: float) -> None:
    """Refuse metrics that are none, and the surface Dice at another tolerance than is measured."""
    known = [n for n in METRICS if not n.startswith("sensitivity_") and not is_nsd(n)]
    known += nsd_metrics(tolerance_mm)
    for metric in metrics:
        if metric not in known:
            other = is_nsd(metric)
            raise SettingsError(
                f"metrics must be some of {', '.join(known)}"
                f"{'' if other else did_you_mean(metric, known)}",
                found=repr(metric),
                remedy=f"set tolerance_mm={metric.split('_')[-1][:-2]}" if other else "",
            )
    if not metrics:
        raise SettingsError("metrics must not be empty", remedy="name one, such as dice")


def _check_cases(manifest: Path, *folders: Path) -> None:
    """Name every case that a folder lacks before the first one is measured."""
    wanted = {case.id for case in labelled_cases(manifest)}
    lacking = {folder: sorted(wanted - set(masks_in(folder))) for folder in folders}
    parts = [f"{folder} lacks {some(cases)}" for folder, cases in lacking.items() if cases]
    if parts:
        raise DataError(
            "both folders must have a mask of every labelled case",
            file=manifest,
            found="; ".join(parts),
            remedy="predict the cases, or compare on a manifest without them",
        )


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Return the names of the folders, with those of their parents where they are the same."""
    a, b = first.resolve(), second.resolve()
    if a.name != b.name:
        return a.name, b.name
    return f"{a.parent.name}-{a.name}", f"{b.parent.name}-{b.name}"


def _read(file: Path) -> tuple[dict[Target, Cases], dict[str, str]]:
    """Return the metrics of each case by class, and the patient of each case."""
    found: dict[Target, Cases] = {}
    patients: dict[str, str] = {}
    with file.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            case, patients[line["case"]] = line["case"], line["patient"]
            numbers = {
                key: float(value) if value else math.nan
                for key, value in line.items()
                if is_metric(key) or key in SUMS
            }
            label = line["class"]
            target = int(label) if label.isdigit() else label
            found.setdefault(target, {})[case] = numbers
    return found, patients


def _write(found: MaskComparison, folder: Path, margin: float) -> None:
    table = []
    for row in found.rows:
        c, equal = row.comparison, row.equal
        table.append(
            {
                "class": row.label,
                "metric": row.metric,
                **{f"a_{key}": value for key, value in row.a.items()},
                **{f"b_{key}": value for key, value in row.b.items()},
                "difference": c.difference,
                "ci_low": c.ci_low,
                "ci_high": c.ci_high,
                "p": c.p_value,
                "p_holm": row.p_adjusted,
                "p_sign_flip": c.p_patients,
                "p_wilcoxon": c.p_wilcoxon,
                "margin": margin if equal else math.nan,
                "p_equal": equal.p_value if equal else math.nan,
                "patients": c.n_patients,
                "verdict": row.verdict(found.names),
            }
        )
    write_rows(folder / "comparison.csv", table)
    rows = [
        {"a": found.names[0], "b": found.names[1], **{k: _plain(v) for k, v in row.items()}}
        for row in table
    ]
    write_json(folder / "comparison.json", {"a": found.names[0], "b": found.names[1], "rows": rows})
    write_rows(folder / "cases.csv", _beside(found))
    write_page(found, folder / "report.html", margin)


def _beside(found: MaskComparison) -> list[dict[str, object]]:
    """Return each case with what both tools reach on it."""
    rows: list[dict[str, object]] = []
    for label, (a, b) in found.cases.items():
        for case in a:
            row: dict[str, object] = {"case": case, "patient": found.patients[case], "class": label}
            for metric in dict.fromkeys((*a[case], *b.get(case, {}))):
                if is_metric(metric):
                    row[f"a_{metric}"] = a[case].get(metric, math.nan)
                    row[f"b_{metric}"] = b.get(case, {}).get(metric, math.nan)
            rows.append(row)
    return rows


def _plain(value: object) -> object:
    return None if isinstance(value, float) and math.isnan(value) else value


def _move(made: Path, out: Path) -> None:
    """Put what was made in its place; what else lies there stays, but for earlier pictures."""
    mark(out, "compare")
    for entry in sorted(made.iterdir()):
        if entry.is_dir():
            remove_pictures(out / entry.name)
    for file in sorted(file for file in made.rglob("*") if file.is_file()):
        target = out / file.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.replace(target)
