"""The `duplicates` filter: copies of clips. Start with `filter.py`."""
