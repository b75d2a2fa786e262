"""The `nsfw` filter: pornographic frames. Start with `filter.py`."""
