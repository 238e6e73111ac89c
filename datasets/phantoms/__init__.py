"""Phantom CT/PET patients with lymph nodes whose truth is known exactly."""
