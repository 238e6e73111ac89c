"""Weights of other tools in, and our networks out to them, with a report on every tensor."""
