"""Choose the operating point of a segmenter on patients, and show what the choice gains."""
