"""Sections `train_vae` and `train_dit`, and their parts.

Start with `section.py`, the keys that both share; `vae.py` and `dit.py` add their own.
"""
