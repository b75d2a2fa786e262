"""The data set directory: its tables, clips, captions, exports, caches and locks.

Start with `dataset.py`, which says what lies where; `schemas.py` lists the columns of every table.
"""
