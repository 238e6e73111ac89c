"""From files on disk to paired patches with known spacing and units."""
