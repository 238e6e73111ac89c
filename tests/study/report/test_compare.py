"""Arms are compared run by run; draws and seeds repeat them; a verdict says no more than it may."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hilum.core.settings import validate
from hilum.evaluation.statistics.cohort import cohort_metrics
from hilum.study.grid.arms import arm, run_of
from hilum.study.report.compare import Paired, compare, summarise
from hilum.study.report.factors import factors
from hilum.study.report.measurements import Row, per_patient
from hilum.study.settings import StudySettings


def study(metric: str = "dice", seeds: int = 3) -> StudySettings:
    values: dict[str, Any] = {
        "name": "s",
        "store": "nowhere",
        "factors": {
            "fusion": {"early": {}, "late": {"fusion": {"name": "late"}}},
            "split.draw": [0, 1],
            "seed": list(range(seeds)),
        },
        "reference": {"fusion": "early"},
        "metric": metric,
    }
    return validate(StudySettings, values)


def rows(gain: float, noise: float = 0.01, seeds: int = 3, patients: int = 12) -> list[Row]:
    """Return two arms, two draws: late has `gain` more of Dice, and a draw is worth 0.1."""
    generator = np.random.default_rng(0)
    ease = generator.uniform(0.3, 0.6, patients)
    made = []
    for fusion in ("early", "late"):
        for draw in (0, 1):
            for seed in range(seeds):
                levels = {"fusion": fusion, "split.draw": draw, "seed": seed}
                for p in range(patients):
                    dice = ease[p] + 0.1 * draw + gain * (fusion == "late")
                    dice = float(np.clip(dice + generator.normal(0, noise), 0.01, 0.99))
                    volume = 1.0 + p
                    metrics = {"dice": dice, "intersection_ml": dice * volume, "volume_ml": volume}
                    metrics |= {"reference_volume_ml": volume, "hd95_mm": 10 * (1 - dice)}
                    metrics |= {"lesion_tp": 1.0, "lesion_fp": 0.0, "lesion_fn": 0.0}
                    made.append(Row(levels, "ct+pet", f"c{p}", f"p{p}", metrics))
    return made


def judged(asked: StudySettings, made: list[Row]) -> Paired:
    [pair] = compare(asked, made, "ct+pet")
    return pair


def test_draws_seeds_and_folds_repeat_an_arm() -> None:
    levels = {"fusion": "late", "split.draw": 4, "split.fold": 2, "seed": 7}
    assert arm(levels) == "fusion: late"
    assert run_of(levels) == (4, 7)
    assert arm({"seed": 1}) == "all"
    assert run_of({"split.draw": 1, "draw": "b"}) == ("1 b", 0)


def test_a_comparison_is_one_of_arms_not_of_their_runs() -> None:
    pair = judged(study(), rows(0.1))
    c = pair.comparison
    assert pair.question == "late vs. early"
    assert (c.n_draws, c.n_seeds, c.n_patients) == (2, 3, 12)
    assert c.difference == pytest.approx(0.1, abs=0.01)
    assert pair.pooled["dscagg"][0] == pytest.approx(0.1, abs=0.01)
    assert pair.verdict("dice") == "better"
    [early, late] = summarise(rows(0.1), ["ct+pet"])
    assert (early.arm, early.seeds, early.draws, early.patients) == ("fusion: early", 3, 2, 12)
    assert late.metrics["dice"]["value"] - early.metrics["dice"]["value"] == pytest.approx(
        c.difference
    )


def test_an_arms_interval_holds_for_other_draws() -> None:
    """Draws are worth 0.1: an interval over patients alone would be narrower."""
    own = [row for row in rows(0.0) if row.levels["fusion"] == "early"]
    [summary] = summarise(own, ["ct+pet"])
    cases = {f"{row.case}/{row.run}": row.metrics for row in own}
    alone = cohort_metrics(cases, {name: name.split("/")[0] for name in cases})
    wide, narrow = (m["dice"]["ci_high"] - m["dice"]["ci_low"] for m in (summary.metrics, alone))
    assert wide > 1.2 * narrow


@pytest.mark.parametrize(
    ("gain", "noise", "seeds", "verdict"),
    [
        (0.1, 0.01, 1, "not supported: one seed"),
        (-0.1, 0.01, 3, "worse"),
        (0.0, 0.004, 3, "equivalent (±0.02)"),
        (0.0, 0.25, 3, "inconclusive"),
    ],
)
def test_a_verdict_says_no_more_than_it_may(
    gain: float, noise: float, seeds: int, verdict: str
) -> None:
    pair = judged(study(seeds=seeds), rows(gain, noise, seeds))
    assert pair.verdict("dice") == verdict


def test_dscagg_has_one_definition_in_arms_and_comparisons() -> None:
    """Runs of very different volumes: one pot would let the large ones count for more."""
    made = rows(0.1)
    for row in made:
        grown = 1 + 5 * (row.levels["seed"] == 1) * (row.levels["fusion"] == "late")
        row.metrics["volume_ml"] *= grown
    pair = judged(study("dscagg"), made)
    [early, late] = summarise(made, ["ct+pet"])
    want = late.metrics["dscagg"]["value"] - early.metrics["dscagg"]["value"]
    assert pair.comparison.difference == pytest.approx(want)
    assert pair.pooled["dscagg"][0] == pytest.approx(want)


def test_comparisons_share_the_variances_of_the_study() -> None:
    """Six arms with two seeds: alone, a comparison knows its run variance from two runs."""
    names = ["early", *(f"arm {i}" for i in range(5))]
    levels = {"fusion": {name: {} for name in names}, "seed": [0, 1]}
    asked = validate(
        StudySettings,
        {"name": "s", "store": "n", "factors": levels, "reference": {"fusion": "early"}},
    )
    generator = np.random.default_rng(1)
    made = []
    for name in names:
        for seed in (0, 1):
            luck = generator.normal(0, 0.05)
            for p in range(8):
                dice = 0.5 + luck + generator.normal(0, 0.01)
                own = {"fusion": name, "seed": seed}
                made.append(Row(own, "ct+pet", f"c{p}", f"p{p}", {"dice": dice}))
    pairs = compare(asked, made, "ct+pet")
    widths = [p.comparison.ci_high - p.comparison.ci_low for p in pairs]
    alone = [
        compare(asked, [r for r in made if r.arm in ("fusion: early", f"fusion: {n}")], "ct+pet")[
            0
        ].comparison
        for n in names[1:]
    ]
    assert np.median(widths) < 0.6 * np.median([c.ci_high - c.ci_low for c in alone])
    assert all(p.comparison.ci_low >= -1 and p.comparison.ci_high <= 1 for p in [*pairs])
    assert all(c.ci_low >= -1 and c.ci_high <= 1 for c in alone)
    effects = factors(asked, made, "ct+pet").main
    for effect, pair in zip(effects, pairs, strict=True):
        assert effect.estimate.low == pytest.approx(pair.comparison.ci_low)


def test_no_difference_of_dice_is_beyond_one() -> None:
    """Two seeds that differ by 0.8: the t interval alone would end at more than 5."""
    levels = {"fusion": {"early": {}, "late": {}}, "seed": [0, 1]}
    asked = validate(
        StudySettings,
        {"name": "s", "store": "n", "factors": levels, "reference": {"fusion": "early"}},
    )
    made = [
        Row({"fusion": arm, "seed": seed}, "ct", f"c{p}", f"p{p}", {"dice": dice + 0.001 * p})
        for arm, of in (("early", (0.1, 0.9)), ("late", (0.9, 0.1)))
        for seed, dice in enumerate(of)
        for p in range(6)
    ]
    [pair] = compare(asked, made, "ct")
    assert (pair.comparison.ci_low, pair.comparison.ci_high) == (-1, 1)
    [effect] = factors(asked, made, "ct").main
    assert (effect.estimate.low, effect.estimate.high) == (-1, 1)


def test_less_is_better_where_the_metric_says_so() -> None:
    pair = judged(study("hd95_mm"), rows(0.2))
    assert pair.comparison.difference < 0
    assert pair.verdict("hd95_mm") == "better"


def test_a_pooled_metric_is_compared_by_its_pseudovalues() -> None:
    made = rows(0.1)
    pair = judged(study("dscagg"), made)
    assert pair.comparison.difference == pytest.approx(pair.pooled["dscagg"][0])
    own = [row for row in made if row.levels["fusion"] == "early"]
    values = per_patient(own, "dscagg")
    first = [row.metrics for row in own if row.run == (0, 0)]
    pooled = 2 * sum(m["intersection_ml"] for m in first)
    pooled /= sum(m["volume_ml"] + m["reference_volume_ml"] for m in first)
    assert np.mean([runs[0, 0] for runs in values.values()]) == pytest.approx(pooled)


def test_effects_of_one_seed_are_not_supported() -> None:
    assert factors(study(seeds=1), rows(0.1, seeds=1), "ct+pet").note == "one seed"
    found = factors(study(), rows(0.1), "ct+pet")
    assert (found.note, found.reference) == ("", {"fusion": "early"})
    assert found.main[0].estimate.mean == pytest.approx(0.1, abs=0.01)
