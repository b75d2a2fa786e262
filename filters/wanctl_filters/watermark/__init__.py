"""The `watermark` filter: logos and station marks. Start with `filter.py`."""
