"""`wanctl eval`: what trained networks are worth, in figures and pictures.

Start with `vae/run.py`, which compares VAEs.
"""
