"""Corrected masks back in: found, checked, compared with what was proposed, kept by version."""
