"""Checks of captions: against their text alone, against measurements, against other captions.

Start with `text.py`; `facts.py` holds what was measured of a clip; `check.py` runs all of them.
"""
