"""Mathematics over a model: noise levels, schedules, solvers, guidance. No files, no recipes.

Start with `flow.py`, then `generate.py`, which runs a sample.
"""
