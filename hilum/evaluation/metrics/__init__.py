"""Metrics per voxel, node and case."""
