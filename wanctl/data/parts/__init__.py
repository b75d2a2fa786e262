"""The Parquet files of a data set: reading, writing by row groups, cleaning of old ones.

Start with `part_files.py`.
"""
