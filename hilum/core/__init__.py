"""The words everyone uses: case, modality, geometry, checkpoints, runs, settings, errors."""
