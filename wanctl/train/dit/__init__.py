"""`wanctl train-dit`: the transformer's objective, flow matching on cached latents.

Start with `run.py`, which reads the recipe, and `objective.py`.
"""
