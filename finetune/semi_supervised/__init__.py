"""Learn from unlabelled cases beside the labelled ones."""
