"""Metrics per voxel, node and cohort, and the statistics of a comparison."""
