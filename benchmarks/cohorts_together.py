"""One comparison over several cohorts, from the tables of their studies.

    python benchmarks/cohorts_together.py --row FIRST/comparisons.csv "one vs. other (labels: n=2)"
        --row SECOND/comparisons.csv "one vs. other (labels: n=2)" [--out TABLE.csv]

The mean of the differences, weighted by their number of draws of labelled patients; its variance is
the sum of their variances by squared weights, its degrees of freedom follow Satterthwaite
(Biometrics 1946, 2:110). So the interval holds for other patients and runs of these cohorts, and
not for other cohorts: two or three say little of how cohorts differ, hence the row of each.

A table has no standard error: it and its degrees of freedom are those whose t test has the interval
and the p value of the row. Rows must be of different cohorts: patients that two of them share would
count twice.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import optimize, stats

sys.path.insert(0, str(Path(__file__).parent))

from study_runs import named, write

from hilum.core.errors import DataError


@dataclass(frozen=True)
class Difference:
    """A mean difference of one cohort.

    Attributes:
        mean: Of it.
        error: Its standard error.
        freedom: Degrees of freedom of the error.
        draws: Draws of labelled patients.
    """

    mean: float
    error: float
    freedom: float
    draws: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 %."""
        reach = float(stats.t.ppf(0.975, self.freedom)) * self.error
        return self.mean - reach, self.mean + reach

    @property
    def p(self) -> float:
        """Of no difference, two-sided."""
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.freedom))


def from_row(mean: float, low: float, high: float, p: float, draws: int) -> Difference:
    """Return the difference whose t test has this interval and p value.

    Raises:
        DataError: If no t test has them.
    """
    reach = (high - low) / 2

    def gap(logarithm: float) -> float:
        freedom = math.exp(logarithm)
        return float(2 * stats.t.sf(abs(mean) / reach * stats.t.ppf(0.975, freedom), freedom)) - p

    least, most = math.log(1.0), math.log(1e6)
    if gap(least) * gap(most) > 0:
        raise DataError(
            "no t test has this interval and p value",
            found=f"{mean}, {low} to {high}, p = {p}",
            remedy="take a row of comparisons.csv as a study wrote it",
        )
    root = optimize.root_scalar(gap, bracket=(least, most)).root
    freedom = math.exp(float(root))
    return Difference(mean, reach / float(stats.t.ppf(0.975, freedom)), freedom, draws)


def together(found: Sequence[Difference]) -> Difference:
    """Return one difference of several independent ones."""
    draws = sum(one.draws for one in found)
    weights = [one.draws / draws for one in found]
    parts = [(w * one.error) ** 2 for w, one in zip(weights, found, strict=True)]
    freedom = sum(parts) ** 2 / sum(
        part**2 / one.freedom for part, one in zip(parts, found, strict=True)
    )
    mean = sum(w * one.mean for w, one in zip(weights, found, strict=True))
    return Difference(mean, math.sqrt(sum(parts)), freedom, draws)


def row_of(file: Path, comparison: str) -> Difference:
    """Return a row of a study's comparisons.

    Raises:
        DataError: If there is none of this name.
    """
    with file.open(encoding="utf-8", newline="") as stream:
        rows = {row["comparison"]: row for row in csv.DictReader(stream)}
    row = named(rows, comparison, file)
    numbers = (float(row[key]) for key in ("difference", "ci_low", "ci_high", "p"))
    # Tables from before a draw under a factor's own name was known as one count it as a seed.
    return from_row(*numbers, draws=max(int(row["draws"]), int(row["seeds"])))


def main() -> None:
    """Print a row per cohort and one of all, and write them."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--row", nargs=2, action="append", required=True, metavar=("CSV", "NAME"))
    parser.add_argument("--out", type=Path, help="CSV with a row per cohort and one of all")
    asked = parser.parse_args()
    found = [row_of(Path(file), name) for file, name in asked.row]
    names = [*(f"{file}: {name}" for file, name in asked.row), "together"]
    rows = [
        {
            "cohort": name,
            "draws": one.draws,
            "difference": one.mean,
            "low": one.interval[0],
            "high": one.interval[1],
            "p": one.p,
            "freedom": one.freedom,
        }
        for name, one in zip(names, [*found, together(found)], strict=True)
    ]
    for row in rows:
        print(
            f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}], "
            f"p = {row['p']:.3g}, {row['draws']} draws  {row['cohort']}"
        )
    if asked.out is not None:
        write(asked.out, rows)


if __name__ == "__main__":
    main()
