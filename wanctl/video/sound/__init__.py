"""Sound of files: read for a model, and written beside frames. Start with `read.py`."""
