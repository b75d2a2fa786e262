"""Weights on disk <-> models: the one place that knows layouts.

Start with `find.py` (what a folder, file or hub id holds), `resolve.py` (which weights a run uses)
and `load.py`. `key_tables.py` maps parameter names between layouts.
"""
