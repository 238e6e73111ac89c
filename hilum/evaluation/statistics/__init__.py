"""From cases to cohorts and comparisons, with intervals."""
