"""Tasks: which inputs become which conditions of the transformer, in training and sampling.

Start with `table.py`, which lists them; `api.py` has the base class.
"""
