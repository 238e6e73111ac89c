"""Layouts on disk, each read into a manifest."""
