"""Two tools' folders are compared as scipy and hand would; what cannot be compared is refused."""

from __future__ import annotations

import csv
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from hilum.core.case import Case
from hilum.core.errors import DataError, SettingsError, UserError
from hilum.core.files import read_json
from hilum.core.geometry import Grid, IntTriple
from hilum.core.settings import validate
from hilum.datasets.io.nifti import write_volume
from hilum.datasets.manifest import write_manifest
from hilum.evaluation.settings import EvaluationSettings
from hilum.segmenter.assessment.evaluate import evaluate
from hilum.study.masks.compare import compare

from ...command import hilum

SIDES: IntTriple = (10, 14, 14)
GRID = Grid.from_spacing(SIDES, (3, 2, 2), (10, 20, 30))
PATIENTS = 8


def box(start: int, length: int) -> np.ndarray:
    array = np.zeros(SIDES, np.uint8)
    array[2:5, 3:7, start : start + length] = 1
    return array


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write references of six voxels along a row; tool `one` is shifted by 1, `two` by 2 or 3."""
    root = tmp_path_factory.mktemp("compare")
    cases = []
    for number in range(PATIENTS):
        name = f"p{number}"
        label = write_volume(root / "labels" / f"{name}.nii.gz", box(2, 6 + number % 3), GRID)
        ct = write_volume(root / "ct" / f"{name}.nii.gz", np.zeros(SIDES, np.int16), GRID)
        cases.append(Case(name, name, {"ct": ct}, label))
        for tool, shift in (("one", 1), ("two", 2 + number % 2)):
            write_volume(root / tool / f"{name}.nii.gz", box(2 + shift, 6 + number % 3), GRID)
    write_manifest(root / "manifest.csv", cases)
    return root


def test_the_difference_is_that_of_a_paired_t_test(folders: Path, tmp_path: Path) -> None:
    found = compare(
        folders / "one", folders / "two", folders / "manifest.csv", tmp_path / "out", margin=0.5
    )
    lengths = [6 + n % 3 for n in range(PATIENTS)]
    one = np.array([1 - 1 / length for length in lengths])
    two = np.array([1 - (2 + n % 2) / length for n, length in enumerate(lengths)])
    want = stats.ttest_rel(one, two)
    interval = want.confidence_interval()
    [dice] = [row for row in found.rows if row.metric == "dice"]
    assert dice.comparison.difference == pytest.approx((one - two).mean())
    assert dice.comparison.p_value == pytest.approx(want.pvalue)
    assert (dice.comparison.ci_low, dice.comparison.ci_high) == pytest.approx(tuple(interval))
    assert dice.verdict(found.names) == "one better"
    ps = sorted(row.comparison.p_value for row in found.rows)
    assert dice.p_adjusted >= dice.comparison.p_value
    assert min(row.p_adjusted for row in found.rows) == pytest.approx(min(1, ps[0] * len(ps)))


def test_a_pooled_metric_differs_by_what_the_two_evaluations_differ(
    folders: Path, tmp_path: Path
) -> None:
    manifest = folders / "manifest.csv"
    found = compare(folders / "one", folders / "two", manifest, tmp_path / "out")
    alone = [
        evaluate(folders / tool, manifest, tmp_path / tool).cohort[1] for tool in ("one", "two")
    ]
    for row in found.rows:
        if row.comparison.n_patients == PATIENTS:
            want = alone[0][row.metric]["value"] - alone[1][row.metric]["value"]
            assert row.comparison.difference == pytest.approx(want, abs=1e-12), row.metric
            assert row.a["value"] == alone[0][row.metric]["value"]
    assert {"dice", "dscagg", "f1agg", "hd95_mm"} <= {row.metric for row in found.rows}


def test_swapping_the_folders_changes_the_sign_and_the_winner(
    folders: Path, tmp_path: Path
) -> None:
    manifest = folders / "manifest.csv"
    ab, ba = (
        compare(folders / x, folders / y, manifest, tmp_path / x)
        for x, y in (("one", "two"), ("two", "one"))
    )
    for one, two in zip(ab.rows, ba.rows, strict=True):
        if one.comparison.n_patients:
            assert one.comparison.difference == pytest.approx(-two.comparison.difference)
            assert one.p_adjusted == pytest.approx(two.p_adjusted)
        assert one.verdict(ab.names) == two.verdict(ba.names)


def test_distances_have_the_direction_in_which_less_is_better(
    folders: Path, tmp_path: Path
) -> None:
    found = compare(folders / "one", folders / "two", folders / "manifest.csv", tmp_path / "out",
                    metrics=("hd95_mm",))  # fmt: skip
    [row] = found.rows
    assert row.comparison.difference < 0
    assert row.verdict(found.names) == "one better"
    assert row.equal is None


def test_tables_and_report_hold_what_was_found(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    found = compare(
        folders / "one", folders / "two", folders / "labels", out, names=("A <b>", "B & c")
    )
    with (out / "comparison.csv").open() as stream:
        rows = {row["metric"]: row for row in csv.DictReader(stream)}
    dice = found.rows[0]
    assert float(rows["dice"]["difference"]) == pytest.approx(dice.comparison.difference)
    assert rows["dice"]["verdict"] == dice.verdict(found.names)
    with (out / "cases.csv").open() as stream:
        cases = list(csv.DictReader(stream))
    assert len(cases) == PATIENTS
    assert float(cases[1]["a_dice"]) == pytest.approx(1 - 1 / 7)
    assert read_json(out / "comparison.json")["a"] == "A <b>"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "A &lt;b&gt;" in page
    assert "A <b>" not in page
    assert "Each folder is taken as one trained model" in page
    assert "Fewer than 12 patients" in page
    assert (out / "A <b>" / "cases.csv").is_file()
    assert [path.name for path in out.parent.iterdir()] == ["out"], "nothing temporary is left"


def copied(folders: Path, to: Path, tool: str = "two") -> Path:
    to.mkdir()
    for file in (folders / tool).iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


def one_missing(folder: Path) -> None:
    (folder / "p3.nii.gz").unlink()


def another_grid(folder: Path) -> None:
    write_volume(folder / "p7.nii.gz", box(2, 6), Grid.from_spacing(SIDES, (3, 2, 2.5), (0, 0, 0)))


def other_cases(folder: Path) -> None:
    for file in list(folder.iterdir()):
        file.rename(folder / f"q{file.name}")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (one_missing, ("p3", "lacks")),
        (another_grid, ("p7", "grid")),
        (other_cases, ("p0, p1, p2, p3, p4 and 3 more",)),
    ],
)
def test_folders_that_cannot_be_compared_are_refused_and_nothing_is_written(
    folders: Path, tmp_path: Path, spoil: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    theirs = copied(folders, tmp_path / "theirs")
    spoil(theirs)
    out = tmp_path / "results" / "out"
    with pytest.raises(DataError) as error:
        compare(folders / "one", theirs, folders / "manifest.csv", out)
    assert all(word in str(error.value) for word in words)
    assert not out.exists()
    assert not any(out.parent.iterdir()) if out.parent.exists() else True


def test_an_earlier_result_survives_a_refusal(folders: Path, tmp_path: Path) -> None:
    manifest, out = folders / "manifest.csv", tmp_path / "out"
    theirs = copied(folders, tmp_path / "theirs")
    compare(folders / "one", theirs, manifest, out)
    before = (out / "comparison.csv").read_bytes()
    another_grid(theirs)
    with pytest.raises(DataError):
        compare(folders / "one", theirs, manifest, out)
    assert (out / "comparison.csv").read_bytes() == before
    (theirs / "p7.nii.gz").write_bytes((folders / "one" / "p7.nii.gz").read_bytes())
    compare(folders / "one", theirs, manifest, out)
    assert (out / "comparison.csv").read_bytes() != before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"masks_b": "one"}, "must differ"),
        ({"masks_b": "one/../one"}, "must differ"),
        ({"masks_b": "nowhere"}, "no such"),
        ({"out": "two"}, "must not lie among the masks"),
        ({"names": ("x", "x")}, "two different names"),
        ({"names": ("../x", "y")}, "two different names"),
        ({"margin": 0.0}, "above 0"),
        ({"margin": math.nan}, "above 0"),
        ({"metrics": ("dise",)}, "did you mean 'dice'"),
        ({"metrics": ("nsd_3mm",)}, "set tolerance_mm=3"),
        ({"out": ".", "names": ("one", "other")}, "must not lie among the masks"),
        ({"metrics": ()}, "not be empty"),
    ],
)
def test_wrong_requests_say_what_is_wrong(
    folders: Path, tmp_path: Path, change: dict[str, object], words: str
) -> None:
    asked: dict[str, object] = {"masks_a": "one", "masks_b": "two", "out": tmp_path / "out"}
    asked |= change
    paths = {k: folders / str(v) for k, v in asked.items() if k in ("masks_a", "masks_b", "out")}
    more = {k: v for k, v in asked.items() if k not in paths}
    with pytest.raises((DataError, SettingsError), match=words):
        compare(manifest=folders / "manifest.csv", **paths, **more)  # pyright: ignore[reportArgumentType]


def test_equal_masks_of_two_tools_are_the_same(folders: Path, tmp_path: Path) -> None:
    again = copied(folders, tmp_path / "again", "one")
    found = compare(folders / "one", again, folders / "manifest.csv", tmp_path / "out")
    assert {row.verdict(found.names) for row in found.rows if row.equal} <= {
        "equivalent (±0.02)",
        "undefined",
    }


def test_a_handful_of_patients_supports_nothing(folders: Path, tmp_path: Path) -> None:
    cases = [
        Case(name, name, {"ct": folders / "ct" / name}, folders / "labels" / name)
        for name in (f"p{n}.nii.gz" for n in range(4))
    ]
    cases = [replace(case, id=case.id[:2], patient=case.patient[:2]) for case in cases]
    manifest = write_manifest(tmp_path / "manifest.csv", cases)
    found = compare(folders / "one", folders / "two", manifest, tmp_path / "out")
    assert found.rows[0].verdict(found.names) == "not supported: 4 patients"


def test_the_command_prints_verdicts_and_ends_with_2_on_bad_input(
    folders: Path, tmp_path: Path
) -> None:
    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return hilum("compare", *words)

    asked = (folders / "one", folders / "two", folders / "manifest.csv", "--out", tmp_path / "out")
    good = run(*asked, "--names", "ours,theirs", "--metrics", "dice,dscagg")
    assert good.returncode == 0, good.stderr
    assert "ours better" in good.stdout
    assert (tmp_path / "out" / "report.html").is_file()
    same = run(folders / "one", folders / "one", folders / "manifest.csv", "--out", tmp_path / "no")
    assert (same.returncode, (tmp_path / "no").exists()) == (2, False)
    assert "must differ" in same.stderr
    three = run(*asked, "--names", "a,b,c")
    assert three.returncode == 2
    assert issubclass(SettingsError, UserError)


def test_settings_reach_the_comparison_and_its_report(folders: Path, tmp_path: Path) -> None:
    settings = validate(EvaluationSettings, {"tolerance_mm": 3, "regions": {"all": [1]}})
    found = compare(
        folders / "one", folders / "two", folders / "manifest.csv", tmp_path / "out",
        settings=settings,
    )  # fmt: skip
    assert [row.label for row in found.rows if row.metric == "nsd_3mm"] == [1, "all"]
    assert not any(row.metric == "nsd_2mm" for row in found.rows)
    one, region = (row for row in found.rows if row.metric == "dice")
    assert one.comparison.difference == region.comparison.difference
    near = found.rows[[row.metric for row in found.rows].index("nsd_3mm")]
    assert near.equal is not None, "a fraction, at whatever tolerance"
    assert not near.a["ci_high"] > 1
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "NSD 3 mm" in page
    assert "Region all" in page
    asked = compare(
        folders / "one", folders / "two", folders / "manifest.csv", tmp_path / "other",
        settings=settings, metrics=("nsd_3mm", "tlg_error"),
    )  # fmt: skip
    assert [row.metric for row in asked.rows if row.label == 1] == ["nsd_3mm"]
    assert asked.skipped == ("tlg_error",), "there is no PET"
    assert any("not compared: tlg_error" in line for line in asked.lines())


def test_what_lies_in_the_folder_of_results_stays_but_for_earlier_pictures(
    folders: Path, tmp_path: Path
) -> None:
    out, manifest = tmp_path / "out", folders / "manifest.csv"
    pictures = out / "one" / "misses"
    compare(folders / "one", folders / "two", manifest, out, metrics=("dice",))
    pictures.mkdir(parents=True, exist_ok=True)
    for name in ("old.png", "mine.png"):
        (pictures / name).write_bytes(b"png")
    (pictures / "pictures.json").write_text('["old.png"]')
    (out / "one" / "notes.txt").write_text("mine")
    compare(folders / "one", folders / "two", manifest, out, metrics=("dice",))
    assert (out / "one" / "notes.txt").read_text() == "mine"
    assert (pictures / "mine.png").is_file()
    assert not (pictures / "old.png").exists()
    assert (out / "one" / "cases.csv").is_file()
