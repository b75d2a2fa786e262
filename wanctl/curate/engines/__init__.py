"""Engines that process the parts of a data set: local workers, shards of one run, Ray.

Start with `table.py`, which lists them, and `engine.py`.
"""
