"""Checks of captions: against their text alone, against measurements, against other captions.

Start with `check.py`, which runs all checks of one caption; `facts.py` holds what was measured of a
clip, `similar_captions.py` compares captions with each other.
"""
