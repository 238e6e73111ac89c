"""Variable spacing is named as such, and is not taken for missing slices."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pytest

from hilum.datasets.io.slice_gaps import MISSING, UNEVEN, verdict

CASES: dict[str, tuple[list[float], list[int], str, str]] = {
    "one slice lost": ([3, 3, 6, 3, 3], [], MISSING, "1 missing, the first after 6.00 mm"),
    "three lost in a row": ([2, 2, 8, 2, 2], [], MISSING, "3 missing, the first after 4.00 mm"),
    "two lost at two places": ([3, 6, 3, 6, 3, 3], [], MISSING, "2 missing, the first after 3.00"),
    "one lost, numbers say so": ([3, 3, 6, 3], [1, 2, 3, 5, 6], MISSING, "1 missing"),
    "lost, numbered from the feet": ([3, 3, 6, 3], [9, 8, 7, 5, 4], MISSING, "1 missing"),
    "twice the spacing from here on": (
        [2.5] * 5 + [5.0] * 4,
        [],
        UNEVEN,
        "variable spacing, gaps of 2.5 to 5 mm: 5 of 2.5 mm, then 4 of 5 mm",
    ),
    "twice at the end, all numbers there": ([3, 3, 3, 6], [1, 2, 3, 4, 5], UNEVEN, "then 1 of 6"),
    "half again": ([3.0] * 6 + [5.0] * 3, [], UNEVEN, "6 of 3 mm, then 3 of 5 mm"),
    "finer in the neck": ([5.0] * 6 + [3.0] * 3, [], UNEVEN, "6 of 5 mm, then 3 of 3 mm"),
    "three parts": (
        [5.0] * 4 + [2.0] * 4 + [5.0] * 4,
        [],
        UNEVEN,
        "4 of 5 mm, then 4 of 2 mm, then 4 of 5 mm",
    ),
    "no rule": ([3.0, 4.1, 3.0, 5.2, 3.1, 4.4], [], UNEVEN, "and 2 more"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named(name: str) -> None:
    gaps, numbers, rule, found = CASES[name]
    places = np.array(list(accumulate(gaps, initial=0.0)))
    said = verdict(np.array(gaps), places, numbers)
    assert said[0] == rule
    assert found in said[1]
