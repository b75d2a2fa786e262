"""Keeps a model busy: clips are decoded ahead of it, and its answers are written as they come."""
