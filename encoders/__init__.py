"""From an image to a pyramid of features, and from a pyramid back to an image."""
