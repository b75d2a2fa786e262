"""The `quality` filter: the expert quality score. Start with `filter.py`."""
