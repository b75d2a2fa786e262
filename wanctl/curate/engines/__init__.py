"""Engines that work through the parts of a data set: this machine's workers, shards, Ray.

Start with `table.py`.
"""
