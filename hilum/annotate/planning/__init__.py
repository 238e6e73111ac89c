"""Whom to label next, with reasons and costs."""
