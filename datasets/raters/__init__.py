"""Several raters' labels of one case: read, made one, and kept as shares."""
