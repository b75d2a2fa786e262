"""Sections `sample` and `parallel`, and their parts. Start with `sampling.py`."""
