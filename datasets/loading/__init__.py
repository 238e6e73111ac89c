"""Patches and batches from a case store."""
