"""Keeps a model busy: clips are decoded ahead of it, its answers are written as they come.

Start with `model_run.py`; `tables.py` says what is stored, `feeder.py` what is decoded when.
"""
