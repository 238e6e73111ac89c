"""Masks of any two tools, compared patient by patient."""
