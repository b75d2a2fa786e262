"""Training of the VAE and the transformer: one loop, one objective per model.

Start with `run.py`, which reads the recipe, and `loop.py`; `inputs/` turns a data set into batches
and `objectives/` holds the losses.
"""
