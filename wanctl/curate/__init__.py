"""Curation: splits footage into clips, measures them, and selects which to keep.

Start with `run.py`. Filters import `api.py`. `split/`, `measure/` and `select/` are the three
stages; `engines/` runs the first two over the parts of a data set.
"""
