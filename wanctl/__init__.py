"""One toolkit for Wan-style video models: curate, caption, train, sample."""

__version__ = "0.1.0"
