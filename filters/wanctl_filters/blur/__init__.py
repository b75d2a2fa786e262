"""The `blur` filter: out-of-focus and smeared clips. Start with `filter.py`."""
