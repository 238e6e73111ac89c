"""Encoders and segmenters written in the form of other tools."""
