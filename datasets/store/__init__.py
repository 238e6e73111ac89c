"""The case store: prepared cases on disk, read by slices of memory maps."""
