"""Measures clips: each clip is decoded once for all filters. Start with `measure_parts.py`."""
