"""Fixtures of the tiny cohort."""

from __future__ import annotations

from ..tiny_cohort import config, manifest, store, threshold  # noqa: F401
