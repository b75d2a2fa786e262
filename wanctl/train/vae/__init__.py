"""`wanctl train-vae`: the networks that it trains and their losses.

Start with `run.py`, which reads the recipe, and `objective.py`.
"""
