"""What a network sees in cases, patches and nodes, as vectors; and which network sees best."""
