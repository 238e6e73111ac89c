"""Random changes of paired patches, drawn from each sample's own seed."""
