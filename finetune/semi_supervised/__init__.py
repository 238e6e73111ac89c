"""Learn from unlabelled cases next to the labelled ones."""
