"""Language models that see: requests of text and frames, answered in this process or by a server.

Start with `chat.py`; `build.py` holds the table of backends.
"""
