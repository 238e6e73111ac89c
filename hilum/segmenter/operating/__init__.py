"""The operating point: how the probabilities of a segmenter become its mask."""
