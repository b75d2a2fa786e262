"""The command line: each command reads the recipe and calls one `run`.

Start with `main.py`, then `pipeline.py` (curate, caption, train-vae, train-dit, sample); every
group of commands has a module of its name. Nothing heavy is imported before a command runs.
"""
