"""Another trainer's data set as a data set directory, for `wanctl train-vae` and `train-dit`.

Start with `run.py`, which reads the recipe; `importing.py` does the work.
"""
