"""Checkpoints that people load, by name: layout, run rule, licence.

Start with `types.py` (what a row holds) and `table.py` (the rows, torch-free); `refusals.py` says
what a file is that holds no model.
"""
