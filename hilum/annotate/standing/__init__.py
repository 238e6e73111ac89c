"""Where the labelling stands: rounds, labels, and what more of them would bring."""
