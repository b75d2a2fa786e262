"""The `border` filter: bars around the active area. Start with `filter.py`."""
