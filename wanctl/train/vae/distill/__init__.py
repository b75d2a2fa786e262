"""`train_vae.network: tiny_decoder`: a small decoder for previews that repeats a VAE's decoder.

Start with `objective.py`; `run.py` reads the recipe.
"""
