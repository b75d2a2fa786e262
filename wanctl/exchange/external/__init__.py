"""Data sets of other trainers, as their index files, caption files and shards list them.

Start with `clips.py`. `rows.py` and `parquet_rows.py` read the rows of an index, `cells.py` makes a
clip of a row; `folders.py`, `configs.py` and `webdataset.py` are the layouts without one index.
A mistake in one row costs that row and is told; only a file that cannot be read as a whole is an
error.
"""
