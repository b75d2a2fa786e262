"""Curation: split footage into clips, measure them, decide which to keep.

Start with `run.py`; `api.py` is what a filter imports. `split/`, `measure/` and `select/` are the
three stages, `engines/` runs the first two over the parts of a data set.
"""
