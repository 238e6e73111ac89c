"""What labelling programs read and write."""
