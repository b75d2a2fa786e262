"""Splits footage into clips by shot detection. Start with `split_parts.py`."""
