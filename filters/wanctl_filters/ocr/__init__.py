"""The `ocr` filter: text coverage. Start with `filter.py`."""
