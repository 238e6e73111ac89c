"""Where a choice stands among draws, by hand on a table of made results."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import ndimage, stats

from hilum.core.files import write_json
from hilum.datasets.store.case_store import CaseStore
from hilum.segmenter.config import SegmenterConfig
from hilum.segmenter.segmenter import Segmenter

from ..loading import loaded

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "whom_to_label.py"
DRAWS, PATIENTS = 4, 6


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded(SCRIPT)


@pytest.fixture
def values(tmp_path: Path) -> dict[tuple[str, int, int], np.ndarray]:
    """Write results, and return the Dice `[scanners, patients]` of each arm, draw and seed."""
    generator = np.random.default_rng(0)
    runs = [("random", draw, 0) for draw in range(DRAWS)] + [("random", 0, 1)]
    runs += [("typical", 0, seed) for seed in range(3)]
    found = {run: generator.uniform(0.2, 0.6, (2, PATIENTS)) for run in runs}
    found["typical", 0, 0] += 0.1
    with (tmp_path / "results.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["whom", "split.draw", "seed", "case", "patient", "dice", "voxel_average_precision"]
        )
        for (arm, draw, seed), table in found.items():
            for scanner, row in zip("ac", table, strict=True):
                for number, dice in enumerate(row):
                    case = f"phantom_{scanner}_{number}"
                    writer.writerow([arm, draw, seed, case, f"p{number}", dice, dice / 2])
    return found


@pytest.mark.parametrize(("scanner", "rows"), [("all", [0, 1]), ("a", [0]), ("c", [1])])
def test_percentile_and_difference_are_those_counted_by_hand(
    script: ModuleType,
    tmp_path: Path,
    values: dict[tuple[str, int, int], np.ndarray],
    scanner: str,
    rows: list[int],
) -> None:
    table = {(r["metric"], r["scanner"]): r for r in script.choices(tmp_path, "0")}
    found = table["dice", scanner]
    own = {run: one[rows].mean(0) for run, one in values.items()}
    drawn = np.stack([own["random", draw, 0] for draw in range(DRAWS)])
    chosen = np.stack([own["typical", 0, seed] for seed in range(3)])
    means = drawn.mean(1)
    assert found["draws"] == DRAWS
    assert found["seeds"] == 3
    assert found["chosen"] == pytest.approx(chosen.mean())
    assert found["random"] == pytest.approx(drawn.mean())
    assert found["difference"] == pytest.approx(chosen.mean() - drawn.mean())
    assert found["low"] < found["difference"] < found["high"]
    for key, one in (("same_seed", chosen[0]), ("mean_of_seeds", chosen)):
        score = stats.percentileofscore(means, one.mean(), kind="mean")
        assert found[f"percentile_{key}"] == pytest.approx(score)
    assert found["deviation_of_draws"] == pytest.approx(means.std(ddof=1))
    both = [chosen.mean(1), np.array([own["random", 0, seed].mean() for seed in (0, 1)])]
    squares = sum(((one - one.mean()) ** 2).sum() for one in both)
    assert found["deviation_of_seeds"] == pytest.approx((squares / 3) ** 0.5)
    half = table["voxel_average_precision", scanner]
    assert half["difference"] == pytest.approx(found["difference"] / 2)


def test_ties_count_half_in_a_percentile(script: ModuleType) -> None:
    for value, others in ((0.3, [0.1, 0.3, 0.3, 0.5]), (0.1, [0.2, 0.3]), (0.3, [0.3])):
        wanted = stats.percentileofscore(others, value, kind="mean")
        assert script.percentile(value, others) == pytest.approx(wanted)


def test_arms_without_their_draws_are_left_out(script: ModuleType, tmp_path: Path) -> None:
    lines = ["whom,split.draw,seed,case,patient,dice,voxel_average_precision"]
    lines += ["coverage,0,0,phantom_a_0,p0,0.5,0.5", "random,0,1,phantom_a_0,p0,0.4,0.4"]
    (tmp_path / "results.csv").write_text("\n".join(lines))
    assert script.choices(tmp_path, "0") == []


def test_what_was_labelled_and_what_was_expected_of_it(
    script: ModuleType, tmp_path: Path, store: CaseStore, config: Callable[..., SegmenterConfig]
) -> None:
    """Of one run with one patient; the network begins as a rule, whose components are known."""
    lines = ["whom,split.draw,seed,case,patient,dice", "random,3,0,case_4,p4,0.5"]
    (tmp_path / "results.csv").write_text("\n".join(lines))
    for name, train in (("one", ["case_1"]), ("two", ["case_0", "case_1"])):
        run = tmp_path / "finetune" / name
        write_json(run / "split.json", {"train": train, "validation": [], "test": ["case_4"]})
        write_json(run / "config.yaml", {"seed": 0, "split": {"choose": None, "draw": 3}})
    network = Segmenter(config(prior_rule={"limit": 2.5})).eval()
    (row,) = script.labelled(tmp_path, store, "0", network)
    case = store["case_1"]
    pet = np.asarray(case.images[case.modalities.index("pet")], np.float32)
    for end, mask in (("", np.asarray(case.label) == 1), ("_expected", pet > 2.5)):
        _, count = ndimage.label(mask, np.ones((3, 3, 3)))
        assert row[f"nodes{end}"] == count
        assert row[f"ml{end}"] == pytest.approx(mask.sum() * np.prod(case.grid.spacing) / 1000)
    assert (row["arm"], row["draw"], row["case"], row["dice"]) == ("random", "3", "case_1", 0.5)
    assert script.labelled(tmp_path, store, "1") == []
    (row,) = script.labelled(tmp_path, store, "0")
    assert not any("expected" in name for name in row)
