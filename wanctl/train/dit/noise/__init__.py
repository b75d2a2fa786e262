"""Noise in the transformer's training: levels of a step, their shift and weight, loss per level.

Start with `levels.py`, which draws the levels of a micro-batch.
"""
