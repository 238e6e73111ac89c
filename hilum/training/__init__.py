"""What every training run shares: the Lightning trainer, exact resume, progress and tracking."""
