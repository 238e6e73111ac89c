"""A small prepared cohort for the example package."""

from ..tiny_cohort import manifest, store  # noqa: F401
