"""What a segmenter's masks are worth: metrics, robustness, attribution."""
