"""Read and write volumes, and bring them from one grid to another."""
