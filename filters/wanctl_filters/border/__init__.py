"""The `border` filter: bars around the picture. Start with `filter.py`."""
