"""Tasks that make a long video clip by clip. Start with `api.py`."""
