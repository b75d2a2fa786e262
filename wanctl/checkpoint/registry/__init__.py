"""Checkpoints that people load, by name: layout, run rule, licence. Torch-free.

Start with `types.py` (what a row holds) and `table.py` (the rows).
"""
