"""Predictions slice by slice in a browser on this machine."""
