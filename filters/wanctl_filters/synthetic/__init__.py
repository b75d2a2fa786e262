"""The `synthetic` filter: generated clips. Start with `filter.py`."""
