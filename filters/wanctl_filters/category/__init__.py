"""The `category` filter: classes of content. Start with `filter.py`."""
