"""Whom to label, propose, correct, take back: the labelling loop around a segmenter."""
