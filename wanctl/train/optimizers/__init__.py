"""Optimizers of the training loop: a table of them, their parameter groups, their saved state.

Start with `table.py`; `schedule.py` holds the settings and the learning rate of a step.
"""
