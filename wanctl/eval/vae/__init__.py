"""`wanctl eval vae`: reconstructions of any number of VAEs side by side.

Start with `run.py`; the measures themselves are in `wanctl.metrics`.
"""
