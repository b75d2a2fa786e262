"""Sampling: prompts to files."""
