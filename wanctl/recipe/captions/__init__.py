"""Section `caption` and its parts. Start with `caption.py`."""
