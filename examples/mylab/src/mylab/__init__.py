"""Methods of a lab for hilum, one a file."""
