"""Footage to clips: shot detection, then rows of the clips table. Start with `scanning.py`."""
