"""Prediction of one prepared case by a sliding window."""
