"""Training: one loop, one objective per model."""
