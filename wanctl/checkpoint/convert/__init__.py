"""`wanctl weights convert`: write weights in another layout or number format.

Start with `run.py`; `plan.py` decides which files are written.
"""
