"""What several pretext tasks are made of."""
