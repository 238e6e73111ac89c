"""Check a cohort for geometry, unit, label and leakage problems."""
