"""Where a choice stands among draws, by hand on a table of made results."""

from __future__ import annotations

import csv
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "whom_to_label.py"
DRAWS, PATIENTS = 4, 6


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("whom_to_label", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


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


def test_arms_without_their_draws_are_left_out(script: ModuleType, tmp_path: Path) -> None:
    lines = ["whom,split.draw,seed,case,patient,dice,voxel_average_precision"]
    lines += ["coverage,0,0,phantom_a_0,p0,0.5,0.5", "random,0,1,phantom_a_0,p0,0.4,0.4"]
    (tmp_path / "results.csv").write_text("\n".join(lines))
    assert script.choices(tmp_path, "0") == []
