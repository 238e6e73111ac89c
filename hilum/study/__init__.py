"""Many runs, one table, one report."""
