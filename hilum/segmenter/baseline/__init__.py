"""Rules without learning, which every network is to be compared with."""
