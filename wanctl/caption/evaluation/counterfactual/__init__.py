"""Tests without labels: clips are changed and answers have to follow. Start with `rates.py`."""
