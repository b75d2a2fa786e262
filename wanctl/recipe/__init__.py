"""The recipe: one YAML file for all commands, its keys, defaults, checks and error lines.

Start with `schema.py` (every key with its default), then `load.py` (files, `base:`, `--set`) and
`validate.py`, the one module here that knows the tables behind names. Only run modules read it.
"""
