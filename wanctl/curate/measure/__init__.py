"""Evidence of clips: each is decoded once for all filters. Start with `measuring.py`."""
