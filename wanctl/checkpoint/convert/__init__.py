"""`wanctl weights convert`: the same weights in another layout or number format.

Start with `run.py`.
"""
