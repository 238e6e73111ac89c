"""First contours by a segmenter, in what labellers open."""
