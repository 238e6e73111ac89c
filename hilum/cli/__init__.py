"""The front door: commands with shared options."""
