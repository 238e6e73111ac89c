"""Findings in sentences that need no knowledge of hilum."""

from __future__ import annotations

import math

from hilum.core.counts import many

from .compare import Paired


def finding(pair: Paired, metric: str, title: str) -> str:
    """Return what a comparison found, with interval, patients and runs.

    A verdict that its numbers do not explain has a second sentence.

    Args:
        pair: The comparison.
        metric: Metric of the study.
        title: Its heading.
    """
    c, verdict = pair.comparison, pair.verdict(metric)
    one, _, rest = pair.question.partition(" vs. ")
    other, _, context = rest.partition(" (")
    where = f"With {context.removesuffix(')')}: " if context else ""
    counts = f"{many(c.n_patients, 'patient')}, {many(c.n_seeds, 'seed')}"
    counts += f" in {many(c.n_draws, 'draw')}" if c.n_draws > 1 else ""
    if not math.isfinite(c.difference):
        return f"{where}{one} vs. {other}: {verdict} ({counts})."
    if verdict in ("better", "worse"):
        says = f"{one} is {verdict} than {other} by {abs(c.difference):.3f} {title}"
    else:
        says = f"{one} vs. {other}: {verdict}, difference {c.difference:+.3f} {title}"
    known = math.isfinite(c.ci_low)
    interval = f"95 % CI {c.ci_low:+.3f} to {c.ci_high:+.3f}" if known else "no interval"
    return f"{where}{says} ({interval}; {counts}).{_why(pair, verdict)}"


def _why(pair: Paired, verdict: str) -> str:
    c = pair.comparison
    if not verdict.startswith("inconclusive") or not c.ci_low <= 0 <= c.ci_high:
        return ""
    return (
        " The interval includes no difference and differences that matter: more test patients, "
        "seeds or draws of labelled patients narrow it."
    )
